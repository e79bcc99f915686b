"""Look for all that a run needs and does not have, at once and before any work.

    vsd preflight

The first stage. Others depend on what it writes, ``data/preflight.json``: ``{"missing": []}`` and nothing else, so
that it runs before them and its bytes never make them run again.
"""

import argparse
import os
import shutil
from pathlib import Path

from vsd_utils.commands import stage
from vsd_utils.common import git
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import write_json
from vsd_utils.common.params import load
from vsd_utils.common.paths import PREFLIGHT, ROOT, user_path
from vsd_utils.common.sections import Base, Params, Refiner
from vsd_utils.data.admission import Admission, survey
from vsd_utils.data.splits import AUTHORS_IMAGES, renders_scenes, source_files
from vsd_utils.planning import costs
from vsd_utils.planning.batches import batches, usual_pictures
from vsd_utils.planning.costs import PHOTO_BYTES, PICTURE_BYTES

LONGEST_IMAGE, LONGEST_TEXT = 2_928, 122  # tokens: of a square photo, and of the longest question and answer
TEXT_BEFORE = 35  # tokens before a picture, of that text
TRIPLES = 30_000  # of the authors' three splits, rounded up; each has a picture


def problems(params: Params) -> list[str]:
    """List everything missing: annotations, photos, models, keys of servers, disk space, GPU memory, a commit.

    Empty when the run can start. What the fetch stage is going to fetch is not missing; room for it may be. The user's
    files are opened, photos as far as their headers go.
    """
    settings = params.fetch
    data: list[str] = []
    to_fetch = 0
    if not renders_scenes(settings):
        admission, data = survey(settings, params.seed, every_pixel=False, will_be_fetched=settings.download)
        to_fetch = _photos_to_fetch(params, admission)
    disk = [*_disk(params), *_disk_for_photos(params, to_fetch)]
    return [*data, *_models(params), *_keys(params), *disk, *_gpu(params), *_commit()]


def _photos_to_fetch(params: Params, admission: Admission) -> int:
    """Count the photos that the fetch stage is going to ask for, all of a split whose annotations are not there yet."""
    settings = params.fetch
    if not settings.download or settings.photos is None:
        return 0
    if not user_path(settings.photos).is_dir():
        looked_at = sum(map(len, admission.usable.values()))
    else:
        looked_at = sum(map(len, admission.without_photo.values()))
    unread = set(source_files(settings)) - admission.usable.keys()
    wanted = settings.images.model_dump() if settings.images else AUTHORS_IMAGES
    return looked_at + sum(min(wanted[split], AUTHORS_IMAGES[split]) for split in unread)


def _disk_for_photos(params: Params, count: int) -> list[str]:
    if not count:
        return []
    folder = user_path(str(params.fetch.photos))
    there = next(path for path in (folder, *folder.parents) if path.is_dir())
    needed, free = count * PHOTO_BYTES / 1e9, shutil.disk_usage(there).free / 1e9
    if needed <= free:
        return []
    return [
        f"{folder}: {free:.1f} GB free, about {needed:.1f} GB needed for {count:,} photos that are to be fetched. Make "
        "room, or set fetch.photos to a folder on a larger disk"
    ]


def _models(params: Params) -> list[str]:
    named: dict[str, Base | Refiner] = {"base": params.base, "refiner": params.refiner}
    unpinned = [
        f"{section}.revision is not given. Which commit {model.name} has is not known here: open "
        f"https://huggingface.co/{model.name}/commits/main, choose one, and set {section}.revision to its full hash of "
        "40 characters, so that two runs get the same weights"
        for section, model in named.items()
        if model.source == "hub" and model.revision is None
    ]
    return unpinned + [
        f"{user_path(str(model.name))}: no config.json there. Set {section}.name to the folder of a checkpoint in the "
        "transformers format."
        for section, model in named.items()
        if model.source == "folder" and not (user_path(str(model.name)) / "config.json").is_file()
    ]


def _keys(params: Params) -> list[str]:
    endpoints = {"describe": params.describe.endpoint, "refine": params.refine.endpoint}
    return [
        f"{section}.endpoint.api_key_variable: there is no environment variable {endpoint.api_key_variable}. Type: "
        f"export {endpoint.api_key_variable}=... (null says that the server asks for no key)"
        for section, endpoint in endpoints.items()
        if endpoint and endpoint.api_key_variable and not os.environ.get(endpoint.api_key_variable)
    ]


def _disk(params: Params) -> list[str]:
    weights = sum(2e9 * model.billions for model in (params.base, params.refiner) if model.source == "hub")
    pictures = PICTURE_BYTES * TRIPLES if params.fetch.photos else 0
    text = _language_model(params)
    tuned = costs.SAVED_TRAINED_BYTES * text.trained(params.finetune.r) if text else 0
    needed, free = (weights + pictures + tuned) / 1e9, shutil.disk_usage(ROOT).free / 1e9
    if needed <= free:
        return []
    return [
        f"{ROOT}: {free:.0f} GB free, about {needed:.0f} GB needed for model weights, checkpoints and pictures with "
        "boxes. Make room, or move the checkout to a larger disk"
    ]


def _language_model(params: Params) -> costs.Decoder | None:
    """Read the sizes of a large base model's language model; None where they are not known here.

    A folder that holds no model is another check's to complain of.
    """
    if params.base.source in ("tiny", "small") or params.base.billions < 1:
        return None
    try:
        return costs.vision_language(costs.configuration(params.base.source, params.base.name)).decoder
    except VsdError:
        return None


def _gpu(params: Params) -> list[str]:
    text = _language_model(params)
    if text is None:
        return []
    usual = usual_pictures(params.convert.task2_captions)
    made = batches(params.finetune, sum(usual), usual, params.finetune_seed)
    most = made.most_tokens(LONGEST_IMAGE, TEXT_BEFORE, LONGEST_TEXT)
    needed = costs.finetune_bytes(text, params.base, params.finetune, most) / 2**30
    found = _gpu_gib()
    if found >= needed:
        return []
    quantised = "finetune.quantization=4bit" if params.finetune.r else "a rank, as in finetune.r=128"
    seen = f"the largest GPU has {found:.0f} GiB" if found else "no NVIDIA GPU was found"
    return [
        f"fine-tuning needs about {needed:.0f} GiB of GPU memory, {seen}. Set a smaller "
        "finetune.per_device_train_batch_size (with more finetune.gradient_accumulation_steps), "
        f"finetune.activation_checkpointing=true or {quantised}; vsd plan names what fits"
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
