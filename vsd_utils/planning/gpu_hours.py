"""Reckon how many hours a run takes on GPUs of one kind, and what to change where it does not fit.

Hours are operations over a share of what a GPU's data sheet promises, plus bytes over a share of its memory bandwidth;
no run of this model was measured.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from vsd_utils.common.errors import VsdError
from vsd_utils.common.sections import Params
from vsd_utils.planning.run_costs import RunCosts, run_costs
from vsd_utils.planning.workload import Workload

TABLE = Path(__file__).with_name("gpus.yaml")
# Of the dense bfloat16 peak. NVIDIA reports 0.406 for LoRA of an 8B Llama on one H100 (performance summary of NeMo
# AutoModel); taken over for this model.
UTILISATION = 0.4
BANDWIDTH_SHARE = 0.5  # of the memory bandwidth, while text is written; an assumption
RESERVED = 1.5 * 2**30  # bytes that CUDA, its libraries and fragments take; an assumption

Change = dict[str, dict[str, Any]]  # section -> parameter -> value
_ONE_ROW = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16}
_CHANGES: dict[str, list[Change]] = {
    "finetune": [
        {"finetune": _ONE_ROW},
        {"finetune": _ONE_ROW | {"activation_checkpointing": True}},
        *({"finetune": _ONE_ROW | {"activation_checkpointing": True, "quantization": q}} for q in ("8bit", "4bit")),
    ],
    "describe": [
        *({"describe": {"batch_size": rows}} for rows in (8, 4, 1)),
        *({"describe": {"batch_size": rows, "quantization": "4bit"}} for rows in (4, 1)),
    ],
    "refine": [{"refine": {"batch_size": 4}}, {"refine": {"batch_size": 4, "quantization": "4bit"}}],
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
    """Reckon the hours of each stage on ``count`` GPUs, each of which does its share of the rows."""
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
    """Name the first change of parameters with which a stage fits on ``gpu``, as overrides; None where none does.

    ``work`` is the run's, which no such change touches.
    """
    for change in _CHANGES[stage]:
        sections = {name: getattr(params, name).model_copy(update=values) for name, values in change.items()}
        if stage not in too_large(run_costs(params.model_copy(update=sections), work), gpu):
            return " ".join(f"{name}.{key}={_yaml(value)}" for name in change for key, value in change[name].items())
    return None


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
