"""Time what DVC takes to begin and end a run in a copy of the checkout, its data copied and linked, in one go.

    python benchmarks/studies/links.py

In a checkout after ``dvc repro base refiner convert``, so that every stage is remembered and none is run. Writes
``links.json`` beside it.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINKS = ROOT / "vsd_utils" / "studies" / "dvc"
RUN = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", "begun", "convert"]


def seconds(settings: Path) -> float:
    """Make the run with DVC's system settings of a folder, and take it away again."""
    environment = os.environ | {"DVC_SYSTEM_CONFIG_DIR": str(settings), "DVC_NO_ANALYTICS": "1"}
    start = time.monotonic()
    try:
        subprocess.run(RUN, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - start
    finally:
        subprocess.run([*RUN[:4], "remove", "begun"], cwd=ROOT, check=False, stdout=subprocess.DEVNULL)


def main() -> None:
    """Time both in turn, three times, and write their medians and ratio down."""
    with tempfile.TemporaryDirectory() as none:
        rounds = [(seconds(Path(none)), seconds(LINKS)) for _ in range(3)]
    copied, linked = (statistics.median(column) for column in zip(*rounds, strict=True))
    found = {
        "cores": os.cpu_count(),
        "rounds": len(rounds),
        "copied, s": round(copied, 1),
        "linked, s": round(linked, 1),
        "ratio": round(linked / copied, 2),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
