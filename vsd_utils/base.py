"""The second stage: the vision-language model that will be tuned, made here or pointed to.

    python -m vsd_utils.base

Writes ``models/base``: ``model.json`` (a pointer, ``vsd_utils/pointers.py``), the processor's files, and for the tiny
model its weights and ``training.json``. A tiny model learns, in LLaVA's order, to see (tower), to speak (language
model) and to connect the two (alignment); the relation of a pair is in none of the three (``vsd_utils/alignment.py``).
"""

import shutil
import sys
from pathlib import Path

from vsd_utils import environment, imports, lifetime, work_lock
from vsd_utils.errors import VsdError
from vsd_utils.files import replacing_folder
from vsd_utils.params import load
from vsd_utils.paths import BASE_MODEL, WORK, annotation_file, user_path
from vsd_utils.pointers import Pointer, write_pointer
from vsd_utils.sections import Params


def prepare(params: Params, target: Path = BASE_MODEL) -> None:
    """Run the stage."""
    with replacing_folder(target) as folder:
        _prepare(params, folder)


def _prepare(params: Params, target: Path) -> None:
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
    from vsd_utils import alignment, tiny, vision
    from vsd_utils.annotations import load_pairs, texts
    from vsd_utils.files import sha256, write_json
    from vsd_utils.pictures import Pictures
    from vsd_utils.precision import limit_threads

    limit_threads(params.threads)
    size, seed = params.base.tiny, params.seed
    assert size is not None, "the schema asks for it"
    pairs = load_pairs(annotation_file(1, "train"), annotation_file(2, "train"))
    items = [first for first, _ in pairs]
    # Half by how often they occur, half evenly: rare names mostly have several tokens, and are to be copied too.
    names = [name for item in items for triple in item.triple_list for name in (triple.s, triple.o)]
    distinct = sorted(set(names))
    names += distinct * (len(names) // len(distinct))
    tokenizer = tiny.make_tokenizer([*alignment.texts(distinct), *texts(pairs)], size.tokens)
    processor = tiny.make_processor(tokenizer, size)
    model = tiny.make_model(tokenizer, size, seed)
    scenes = params.fetch.source == "scenes"
    pictures = Pictures(None if scenes else items, seed, params.convert.box_width, params.convert.canvas_margin)
    record = {"parameters": sum(weight.numel() for weight in model.parameters())}
    record["vision"] = vision.train_tower(model, pictures, size, seed)
    record["language"] = alignment.teach_language(model, processor, names, size, WORK / "base", seed)
    record["alignment"] = alignment.align(model, processor, pictures, names, size, WORK / "base", seed)
    model.save_pretrained(target)
    processor.save_pretrained(target)
    write_json(target / "training.json", record)
    digests = {path.name: sha256(path) for path in sorted(target.iterdir()) if path.is_file()}
    write_pointer(target, Pointer(name_or_path=".", revision=None, source="trained", sha256=digests))


if __name__ == "__main__":
    environment.enter("vsd_utils.base")
    lifetime.end_with_dvc()
    imports.lighten(quantized=False)
    try:
        with work_lock.held("base"):
            prepare(load())
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
