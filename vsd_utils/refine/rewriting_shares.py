"""Rewriting by several processes: each takes every n-th batch, and together they leave one process's rows.

``rewriting.refine`` then finds all rows finished. A process that was killed goes on where it was, like a single one.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vsd_utils.common.resume import Row, batches_of, merge_parts, part
from vsd_utils.models.launch import REPLICAS, Job, launch, place, run_launched
from vsd_utils.models.loading import COMPUTED_BY, device, set_up_torch
from vsd_utils.refine import local_model
from vsd_utils.refine.rewriting import refine


def refine_in_processes(
    processes: int,
    unfinished: Path,
    parameters: Mapping[str, Any],
    rows: Sequence[Row],
    selected: Collection[str],
    settings: local_model.Settings,
    refiner: Path,
) -> None:
    """Have the ``selected`` of ``rows`` rewritten into ``unfinished``; one process leaves it to the caller.

    ``parameters`` hold those of ``COMPUTED_BY``. Raises ``VsdError`` with what a process said that failed.
    """
    if processes == 1 or unfinished.is_file():
        return
    wanted = [row for row in rows if row["id"] in selected]
    job = {
        "parameters": {name: parameters[name] for name in COMPUTED_BY},
        "settings": settings.model_dump(),
        "rows": wanted,
        "unfinished": str(unfinished),
        "refiner": str(refiner),
    }
    launch(__name__, job, unfinished.parent, processes, REPLICAS)
    merge_parts(unfinished, processes, wanted, _identity)


def refine_share(job: Job) -> None:
    """Rewrite this process's share of a job's rows."""
    p, settings = job["parameters"], local_model.Settings(**job["settings"])
    number, processes = place()
    set_up_torch(p["threads"], p["float32_matmul_precision"])
    model, tokenizer = local_model.load(Path(job["refiner"]), p["dtype"], p["quantization"], device())
    batches = list(batches_of(job["rows"], settings.batch_size))[number::processes]
    rows = [row for batch in batches for row in batch]  # cut into the same batches again: only the last is smaller
    refine(rows, {row["id"] for row in rows}, model, tokenizer, settings, part(Path(job["unfinished"]), number))


def _identity(row: Row) -> str:
    return str(row["id"])


def main() -> int:
    """Rewrite as the job says whose file the command line names."""
    return run_launched(refine_share)


if __name__ == "__main__":
    sys.exit(main())
