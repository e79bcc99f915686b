"""What a run needs and does not have, all of it at once and before any work.

python -m vsd_utils.preflight
"""

import shutil
import sys
from pathlib import Path

from vsd_utils import git
from vsd_utils.annotations import SPLITS, load_items
from vsd_utils.errors import VsdError
from vsd_utils.images import index_photos
from vsd_utils.params import load
from vsd_utils.paths import ROOT, annotation_file
from vsd_utils.sections import Params

BYTES_PER_WEIGHT = {"none": 2, "8bit": 1, "4bit": 0.55}  # in bfloat16; 4-bit with its scales
ADAPTER_BYTES = 16  # weight, gradient and Adam's two moments of a LoRA parameter, in float32
ACTIVATION_GIB = {True: 2.0, False: 16.0}  # a row of one five-tile image, with and without recomputation
LORA_PER_RANK = 3_911_680  # LoRA parameters of Vicuna-13B for each rank: 500,695,040 at rank 128
SAMPLE_BYTES = 150_000  # a photo with boxes drawn on it


def problems(params: Params) -> list[str]:
    """Everything missing: annotations, photos, disk space, GPU memory, a commit. Empty when the run can start."""
    return [*_annotations(params), *_disk(params), *_gpu(params), *_commit()]


def _annotations(params: Params) -> list[str]:
    settings = params.fetch
    if settings.source == "scenes":
        return []
    folder = ROOT / str(settings.annotations)
    splits = ("val",) if settings.own_split else SPLITS
    files = [annotation_file(version, split, folder) for split in splits for version in (1, 2)]
    missing = [
        f"{path}: no such annotation file. Take it from dataset/ of github.com/zhaoyucs/VSD, or set fetch.annotations"
        for path in files
        if not path.is_file()
    ]
    return missing + _photos(params, [path for path in files if path.is_file()])


def _photos(params: Params, files: list[Path]) -> list[str]:
    if params.fetch.photos is None:
        return []
    folder = ROOT / params.fetch.photos
    try:
        index = index_photos(folder)
        ids = {item.img_id for path in files for item in load_items(path, [])}
    except VsdError as error:
        return [str(error)]
    absent = sorted(ids - index.keys())
    if not absent or params.convert.skip_invalid:
        return []
    shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
    return [
        f"{folder}: {len(absent)} of {len(ids)} photos are missing: {shown}. They come from Visual "
        "Genome, SpatialSense (Flickr) and NYU (Zenodo record 8104370); or set convert.skip_invalid=true"
    ]


def _disk(params: Params) -> list[str]:
    weights = sum(2e9 * model.billions for model in (params.base, params.refiner) if model.source == "hub")
    pictures = SAMPLE_BYTES * 30_000 if params.fetch.photos else 0
    needed, free = (weights + pictures) / 1e9, shutil.disk_usage(ROOT).free / 1e9
    if needed <= free:
        return []
    return [f"{ROOT}: {free:.0f} GB free, about {needed:.0f} GB needed for model weights and drawn pictures"]


def _gpu(params: Params) -> list[str]:
    if params.base.source == "tiny" or params.base.billions < 1:
        return []
    settings = params.finetune
    weights = params.base.billions * 1e9 * BYTES_PER_WEIGHT[settings.quantization]
    adapter = ADAPTER_BYTES * settings.lora_rank * LORA_PER_RANK * params.base.billions / 13.35
    activations = ACTIVATION_GIB[settings.checkpointing] * 2**30 * settings.batch_size
    needed = (weights + adapter + activations) / 2**30
    found = _gpu_gib()
    if found >= needed:
        return []
    seen = f"the largest GPU has {found:.0f} GiB" if found else "no NVIDIA GPU was found"
    return [
        f"fine-tuning needs about {needed:.0f} GiB of GPU memory, {seen}. Set finetune.quantization=4bit, a smaller "
        "finetune.batch_size (with more accumulation) or finetune.checkpointing=true"
    ]


def _commit() -> list[str]:
    if git.NOTHING_COMMITTED not in git.commit(ROOT):
        return []
    return [f"{ROOT}: a git repository where {git.NOTHING_COMMITTED}. DVCLive, which logs the training, needs a commit"]


def _gpu_gib() -> float:
    import pynvml

    try:
        pynvml.nvmlInit()
        devices = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return max((int(pynvml.nvmlDeviceGetMemoryInfo(device).total) / 2**30 for device in devices), default=0.0)
    except pynvml.NVMLError:
        return 0.0


if __name__ == "__main__":
    try:
        found = problems(load())
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print("\n".join(found) or f"nothing is missing ({Path.cwd().name})")
    sys.exit(2 if found else 0)
