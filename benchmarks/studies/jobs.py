"""Time a study of six runs made one at a time and two at a time, in one go, in a checkout after `make repro`.

    python benchmarks/studies/jobs.py

Writes ``jobs.json`` beside it. Both studies do the same work with other seeds, so that DVC remembers none of it.
"""

import json
import os
import subprocess
import time
from pathlib import Path

STUDY = """\
question: How long do six runs take?
profile: mini
last_stage: describe
seed: finetune.seed
seeds: [{seeds}]
overrides: [finetune.max_steps=60, describe.limit=90]
variants: {{r 32: {{}}, r 8: {{overrides: [finetune.r=8, finetune.lora_alpha=16]}}}}
reference: r 32
scores: [task1.accuracy]
follows: ""
does_not_follow: ""
"""
ROOT = Path(__file__).parents[2]


def seconds(name: str, seeds: str, jobs: int) -> float:
    """Make a study and take its files away again."""
    file = ROOT / "studies" / f"{name}.yaml"
    before = set((ROOT / "reports/studies").rglob("*"))
    file.write_text(STUDY.format(seeds=seeds))
    try:
        start = time.monotonic()
        subprocess.run(["vsd", "study", name, "--jobs", str(jobs)], cwd=ROOT, check=True)
        return time.monotonic() - start
    finally:
        file.unlink()
        for path in set((ROOT / "reports/studies").rglob("*")) - before:
            path.unlink()


def main() -> None:
    """Time one at a time, two at a time, and write their ratio down."""
    alone = seconds("one_at_a_time", "101, 102, 103", 1)
    together = seconds("two_at_a_time", "201, 202, 203", 2)
    found = {
        "cores": os.cpu_count(),
        "runs": 6,
        "one at a time, s": round(alone),
        "two at a time, s": round(together),
        "ratio": round(together / alone, 2),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
