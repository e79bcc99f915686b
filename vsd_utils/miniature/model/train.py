"""The tiny base model, made from scratch: a vision tower that sees, a language model that speaks, and the two aligned.

The order is LLaVA's. The relation of a pair is in none of the three steps (``language_pretraining.py``).
"""

from pathlib import Path

from vsd_utils.common.files import sha256, write_json
from vsd_utils.common.paths import WORK, annotation_file
from vsd_utils.common.sections import Params
from vsd_utils.data.annotations import Item, all_captions, load_versions
from vsd_utils.miniature.model import architecture, language_pretraining, vision_pretraining
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.models.checkpoint import Pointer, write_pointer
from vsd_utils.models.loading import set_up_torch


def train_tiny(params: Params, target: Path) -> None:
    """Make the tiny model and save it, its processor and what its training came to into the folder ``target``.

    Reads the training split's annotations; of ``params`` ``base.tiny``, ``seed``, ``threads``,
    ``float32_matmul_precision``, ``fetch.source`` and how boxes are drawn. Raises ``VsdError`` for annotations that
    cannot be read.
    """
    set_up_torch(params.threads, params.float32_matmul_precision)
    tiny, seed = params.base.tiny, params.seed
    assert tiny is not None, "the schema asks for it"
    # 1. Words and names come from the training split.
    joined = load_versions(annotation_file(1, "train"), annotation_file(2, "train"))
    items = [versions.v1 for versions in joined]
    names = _names(items)
    # 2. The model with random weights, and the pictures that it learns from.
    texts = [*language_pretraining.vocabulary_texts(sorted(set(names))), *all_captions(joined)]
    tokenizer = architecture.make_tokenizer(texts, tiny.tokens)
    processor = architecture.make_processor(tokenizer, tiny)
    model = architecture.make_model(tokenizer, tiny, seed)
    scenes = params.fetch.source == "scenes"
    pictures = Pictures(None if scenes else items, seed, params.convert.box_width, params.convert.canvas_margin)
    # 3. To see, to speak, and to speak of what is seen.
    record = {"parameters": sum(weight.numel() for weight in model.parameters())}
    record["vision"] = vision_pretraining.train_tower(model, pictures, tiny, seed)
    record["language"] = language_pretraining.teach_language(model, processor, names, tiny, WORK / "base", seed)
    record["alignment"] = language_pretraining.align(model, processor, pictures, names, tiny, WORK / "base", seed)
    # 4. All files, and the pointer with their digests.
    model.save_pretrained(target)
    processor.save_pretrained(target)
    write_json(target / "training.json", record)
    digests = {path.name: sha256(path) for path in sorted(target.iterdir()) if path.is_file()}
    write_pointer(target, Pointer(name_or_path=".", revision=None, source="trained", sha256=digests))


def _names(items: list[Item]) -> list[str]:
    """List the names of subjects and objects, half as often as they occur and half evenly.

    Rare names mostly have several tokens, and are to be copied too.
    """
    names = [name for item in items for triple in item.triple_list for name in (triple.s, triple.o)]
    distinct = sorted(set(names))
    return names + distinct * (len(names) // len(distinct))
