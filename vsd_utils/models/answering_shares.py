"""Answers by several processes: each takes every n-th batch, and together they leave one process's rows.

``answering.answer`` then finds all rows finished. A process that was killed goes on where it was, like a single one.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vsd_utils.common.resume import Row, merge_parts, part
from vsd_utils.models import vision_language
from vsd_utils.models.answering import Settings, answer, batches_to_answer, identity
from vsd_utils.models.launch import REPLICAS, Job, launch, place, run_launched
from vsd_utils.models.loading import COMPUTED_BY, set_up_torch

SYSTEMS = ("base", "lora", "lora_blank_image")


def answer_in_processes(
    processes: int,
    work: Path,
    parameters: Mapping[str, Any],
    asked: Sequence[Row],
    settings: Settings,
    base: Path,
    adapter: Path,
    images: Path,
) -> None:
    """Have ``asked`` answered by all systems, into ``<work>/<system>.jsonl``; one process leaves it to the caller.

    ``parameters`` hold those of ``COMPUTED_BY``. Raises ``VsdError`` with what a process said that failed.
    """
    if processes == 1 or all((work / f"{system}.jsonl").is_file() for system in SYSTEMS):
        return
    job = {
        "parameters": {name: parameters[name] for name in COMPUTED_BY},
        "settings": settings.model_dump(),
        "asked": list(asked),
        **{name: str(path) for name, path in (("work", work), ("base", base), ("adapter", adapter))},
        "images": str(images),
    }
    launch(__name__, job, work, processes, REPLICAS)
    for system in SYSTEMS:
        merge_parts(work / f"{system}.jsonl", processes, asked, identity)


def answer_share(job: Job) -> None:
    """Answer this process's share of a job's questions, each system in turn."""
    p, settings, work = job["parameters"], Settings(**job["settings"]), Path(job["work"])
    number, processes = place()
    set_up_torch(p["threads"], p["float32_matmul_precision"])
    batches = batches_to_answer(job["asked"], settings.batch_size)[number::processes]
    # Cut into the same batches again: of those whose pictures are asked the same tasks only the last one is smaller.
    asked = [row for batch in batches for row in batch]
    processor = vision_language.load_processor(Path(job["base"]))
    model: Any = vision_language.load_model(p["dtype"], p["quantization"], Path(job["base"])).eval()
    for system in SYSTEMS:
        if system == "lora":
            model = vision_language.load_adapter(model, Path(job["adapter"]))
        unfinished = part(work / f"{system}.jsonl", number)
        answer(model, processor, asked, Path(job["images"]), unfinished, settings, blank=system.endswith("blank_image"))


def main() -> int:
    """Answer as the job says whose file the command line names."""
    return run_launched(answer_share)


if __name__ == "__main__":
    sys.exit(main())
