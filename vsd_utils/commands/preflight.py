"""Look for all that a run needs and does not have, at once and before any work.

    vsd preflight

The first stage. Others depend on what it writes, ``data/preflight.json``: ``{"missing": []}`` and nothing else, so
that it runs before them and its bytes never make them run again.
"""

import argparse
import shutil
from pathlib import Path

from vsd_utils.commands import stage
from vsd_utils.common import git
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import write_json
from vsd_utils.common.params import load
from vsd_utils.common.paths import PREFLIGHT, ROOT, user_path
from vsd_utils.common.sections import Base, Params, Refiner
from vsd_utils.data.admission import survey

BYTES_PER_WEIGHT = {"none": 2, "8bit": 1, "4bit": 0.55}  # in bfloat16; 4-bit with its scales
ADAPTER_BYTES = 16  # weight, gradient and Adam's two moments of a LoRA parameter, in float32
ACTIVATION_GIB = {True: 2.0, False: 16.0}  # a row of one five-tile image, with and without recomputation
LORA_PER_RANK = 3_911_680  # LoRA parameters of Vicuna-13B for each rank: 500,695,040 at rank 128
PICTURE_BYTES = 150_000  # a photo with boxes drawn on it
TRIPLES = 30_000  # of the authors' three splits, rounded up; each has a picture


def problems(params: Params) -> list[str]:
    """List everything missing: annotations, photos, models, disk space, GPU memory, a commit.

    Empty when the run can start. The user's files are opened, photos as far as their headers go.
    """
    settings = params.fetch
    data = [] if settings.source == "scenes" else survey(settings, every_pixel=False)[1]
    return [*data, *_models(params), *_disk(params), *_gpu(params), *_commit()]


def _models(params: Params) -> list[str]:
    named: dict[str, Base | Refiner] = {"base": params.base, "refiner": params.refiner}
    return [
        f"{user_path(str(model.name))}: no config.json there. Set {section}.name to the folder of a checkpoint in the "
        "transformers format."
        for section, model in named.items()
        if model.source == "folder" and not (user_path(str(model.name)) / "config.json").is_file()
    ]


def _disk(params: Params) -> list[str]:
    weights = sum(2e9 * model.billions for model in (params.base, params.refiner) if model.source == "hub")
    pictures = PICTURE_BYTES * TRIPLES if params.fetch.photos else 0
    needed, free = (weights + pictures) / 1e9, shutil.disk_usage(ROOT).free / 1e9
    if needed <= free:
        return []
    return [
        f"{ROOT}: {free:.0f} GB free, about {needed:.0f} GB needed for model weights and pictures with boxes. Make "
        "room, or move the checkout to a larger disk"
    ]


def _gpu(params: Params) -> list[str]:
    if params.base.source == "tiny" or params.base.billions < 1:
        return []
    settings = params.finetune
    weights = params.base.billions * 1e9 * BYTES_PER_WEIGHT[settings.quantization]
    adapter = ADAPTER_BYTES * settings.r * LORA_PER_RANK * params.base.billions / 13.35
    activations = ACTIVATION_GIB[settings.activation_checkpointing] * 2**30 * settings.per_device_train_batch_size
    needed = (weights + adapter + activations) / 2**30
    found = _gpu_gib()
    if found >= needed:
        return []
    seen = f"the largest GPU has {found:.0f} GiB" if found else "no NVIDIA GPU was found"
    return [
        f"fine-tuning needs about {needed:.0f} GiB of GPU memory, {seen}. Set finetune.quantization=4bit, a smaller "
        "finetune.per_device_train_batch_size (with more finetune.gradient_accumulation_steps) or "
        "finetune.activation_checkpointing=true"
    ]


def _commit() -> list[str]:
    if not git.lacks_commit(ROOT):
        return []
    return [
        f"{ROOT}: a git repository where nothing is committed yet, and DVCLive, which logs the training, needs a "
        "commit: git add --all && git commit --message start"
    ]


def _gpu_gib() -> float:
    """Read the memory of the largest NVIDIA GPU in GiB; 0 without one."""
    import pynvml

    try:
        pynvml.nvmlInit()
        devices = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return max((int(pynvml.nvmlDeviceGetMemoryInfo(device).total) / 2**30 for device in devices), default=0.0)
    except pynvml.NVMLError:
        return 0.0


def check(params: Params, target: Path = PREFLIGHT) -> None:
    """Write to ``target`` that nothing is missing; raises ``VsdError`` with everything that is."""
    target.unlink(missing_ok=True)
    if found := problems(params):
        raise VsdError("\n".join(found))
    write_json(target, {"missing": []})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def run(given: argparse.Namespace) -> int:
    """Run the stage."""
    params = load()
    with stage.running("preflight"):
        check(params)
    print("nothing is missing")
    return 0
