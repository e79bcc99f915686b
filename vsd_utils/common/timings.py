"""How long stages and long work took, and how much memory: written down beside the run, in no result.

``work/timings.jsonl``, one line an event, appended as it ends: ``{"stage": "finetune", "seconds": 81.2, "peak_gib":
1.9}`` of a stage, with the name of DVC's "experiment" if it ran in one; ``{"work": "fine-tuning", "count": 40,
"seconds": 60.3}`` of what shows progress, with "gpu_peak_gib" where torch has used a GPU. A stage's line comes after
those of its work.
"""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_jsonl
from vsd_utils.common.paths import WORK, checkout

# A temporary copy of the checkout goes when its run ends; how long it took is still asked for.
FILE = checkout() / WORK.name / "timings.jsonl"


def record_stage(stage: str, seconds: float, path: Path = FILE) -> None:
    """Write down a stage's length, and the memory of the largest process that it was or waited for."""
    largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    row = {"stage": stage, "seconds": round(seconds, 1), "peak_gib": round(largest * unit / 2**30, 2)}
    experiment = os.environ.get("DVC_EXP_NAME")  # which DVC gives to the stages of an experiment
    _append(row | ({"experiment": experiment} if experiment else {}), path)


def record_work(name: str, count: int, seconds: float, path: Path = FILE) -> None:
    """Write down how many steps of a piece of work were done in how many seconds."""
    row: dict[str, Any] = {"work": name, "count": count, "seconds": round(seconds, 1)}
    torch = sys.modules.get("torch")  # nobody imports it for this
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        row["gpu_peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    _append(row, path)


def latest(path: Path = FILE) -> list[dict[str, Any]]:
    """Read the newest line of each stage and each piece of work, a stage's work below it, in the order of the run."""
    pending: list[dict[str, Any]] = []
    stages: dict[str, list[dict[str, Any]]] = {}
    for row in rows(path):
        pending.append(row)
        if "stage" in row:
            stages.pop(row["stage"], None)
            stages[row["stage"]] = [row, *pending[:-1]]
            pending = []
    return [row for rows in stages.values() for row in rows]


def rows(path: Path = FILE) -> list[dict[str, Any]]:
    """Read all lines, oldest first; none where the file is not there or cannot be read."""
    try:
        return read_jsonl(path)
    except (OSError, VsdError):  # not there, or cut off by a full disk: no run is worth less for it
        return []


def _append(row: dict[str, Any], path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError:  # a full disk is told of by what matters
        return
