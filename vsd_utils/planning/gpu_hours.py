"""Reckon how many hours a run takes on GPUs of one kind, and what to change where it does not fit.

Hours are operations over a share of what a GPU's data sheet promises, plus bytes over a share of its memory bandwidth;
no run of this model was measured.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from vsd_utils.common.errors import VsdError
from vsd_utils.common.sections import Finetune, Params
from vsd_utils.planning.run_costs import RunCosts, run_costs
from vsd_utils.planning.workload import Workload

TABLE = Path(__file__).with_name("gpus.yaml")
# Of the dense bfloat16 peak. NVIDIA reports 0.406 for LoRA of an 8B Llama on one H100 (performance summary of NeMo
# AutoModel); taken over for this model.
UTILISATION = 0.4
BANDWIDTH_SHARE = 0.5  # of the memory bandwidth, while text is written; an assumption
RESERVED = 1.5 * 2**30  # bytes that CUDA, its libraries and fragments take; an assumption

Change = dict[str, Any]  # parameter of the stage's section -> value
# Groups of changes, those that change results last.
_CHANGES: dict[str, list[list[Change]]] = {
    "describe": [
        [{"batch_size": rows} for rows in (8, 4, 1)],
        [{"batch_size": rows, "quantization": "4bit"} for rows in (4, 1)],
    ],
    "refine": [[{"batch_size": 4}], [{"batch_size": 4, "quantization": "4bit"}]],
}


class Gpu(NamedTuple):
    """Hold a GPU's memory in bytes, its bfloat16 operations and the memory bytes that it reads, both a second."""

    name: str
    memory: float
    operations: float
    bandwidth: float


def known_gpus(path: Path = TABLE) -> dict[str, Gpu]:
    """Read the GPUs that hours can be reckoned for."""
    rows = YAML(typ="safe", pure=True).load(path)
    return {
        name: Gpu(name, row["memory"] * 2**30, row["operations"] * 1e12, row["bandwidth"] * 1e12)
        for name, row in rows.items()
    }


def find_gpu(named: str) -> Gpu:
    """Find a GPU by its name in the table, or as the driver calls it ("NVIDIA A100-SXM4-80GB"); the longest name wins.

    Raises ``VsdError`` with the names that are known.
    """
    words = named.upper().replace("-", " ").split()
    found = [gpu for gpu in known_gpus().values() if all(_part_of(word, words) for word in gpu.name.upper().split("-"))]
    if not found:
        raise VsdError(
            f"{named}: no such GPU in {TABLE}; known are {', '.join(known_gpus())}. Add its line, or name one."
        )
    return max(found, key=lambda gpu: len(gpu.name))


def _part_of(word: str, words: list[str]) -> bool:
    return any(word in part for part in words)


def hours(costs: RunCosts, gpu: Gpu, count: int = 1) -> dict[str, float]:
    """Reckon the hours of each stage on ``count`` GPUs, which share the batches that one would have had."""
    return {
        name: (stage.operations / (UTILISATION * gpu.operations) + stage.read / (BANDWIDTH_SHARE * gpu.bandwidth))
        / count
        / 3600
        for name, stage in costs.stages.items()
    }


def too_large(costs: RunCosts, gpu: Gpu) -> list[str]:
    """List the stages whose memory is more than a GPU has."""
    return [name for name, stage in costs.stages.items() if stage.memory + RESERVED > gpu.memory]


def remedy(params: Params, work: Workload, stage: str, gpu: Gpu) -> str | None:
    """Name the change of parameters with which a stage fits on ``gpu``, as overrides; None where none does.

    Of several the one with the fewest operations, and one that changes results only where no other helps. ``work`` is
    the run's, which no such change touches.
    """
    section = getattr(params, stage)
    for group in _finetune_changes(params.finetune) if stage == "finetune" else _CHANGES[stage]:
        fitting: list[tuple[float, Change]] = []
        for change in group:
            if params.finetune.r is None and "quantization" in change and stage != "refine":
                continue  # whole weights are trained, and quantised ones are not whole
            costs = run_costs(params.model_copy(update={stage: section.model_copy(update=change)}), work)
            if stage not in too_large(costs, gpu):
                fitting.append((costs.stages[stage].operations, change))
        if fitting:
            _, change = min(fitting, key=lambda found: found[0])
            return " ".join(f"{stage}.{name}={_yaml(value)}" for name, value in change.items())
    return None


def _finetune_changes(settings: Finetune) -> list[list[Change]]:
    """List changes of fine-tuning that need less memory, all with as many conversations a step as there are now.

    Smaller batches, though with packing they cut more pictures, which are then read more often; activations computed
    again; each conversation with its own picture. In a second group quantization as well.
    """
    in_step = settings.per_device_train_batch_size * settings.gradient_accumulation_steps
    sizes = [_batch(1, in_step)]
    if settings.packing != "none":
        smaller = [_batch(size, in_step) for size in (8, 4, 2) if size < settings.per_device_train_batch_size]
        sizes = [{}, *smaller, sizes[0] | {"packing": "none"}]
    again = {} if settings.activation_checkpointing else {"activation_checkpointing": True}
    return [
        [*sizes, *(size | again for size in sizes)],
        [size | again | {"quantization": kind} for size in sizes for kind in ("8bit", "4bit")],
    ]


def _batch(size: int, in_step: int) -> Change:
    return {"per_device_train_batch_size": size, "gradient_accumulation_steps": max(1, in_step // size)}


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
