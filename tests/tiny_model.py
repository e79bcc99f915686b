"""A LLaVA-NeXT on disk, so small that an answer takes a moment, and pictures with their questions."""

from pathlib import Path

import torch

from vsd_utils.common.sections import Tiny
from vsd_utils.data.images import draw_boxes
from vsd_utils.data.prompts import TASKS, question
from vsd_utils.data.samples import PicturedTriple, Sample
from vsd_utils.miniature.model import architecture
from vsd_utils.miniature.scenes.scene import compose, render
from vsd_utils.models.checkpoint import Pointer, write_pointer

SIZE = Tiny(
    tokens=400,
    tile=24,
    patch=12,
    width=32,
    layers=2,
    heads=2,
    vision_steps=1,
    vision_batch=2,
    vision_learning_rate=1e-3,
    language_rows=1,
    language_batch=1,
    language_learning_rate=1e-3,
    align_rows=1,
    align_batch=1,
    align_learning_rate=1e-3,
)


def write_base(folder: Path, scale: float = 6.0) -> Path:
    """Write the model, untrained, its weights times ``scale``: large ones make answers depend on the picture.

    They also make a difference of the last digit grow; 1 is for comparing logits.
    """
    tokenizer = architecture.make_tokenizer([question(task, "red ball", "box") for task in TASKS] * 3, SIZE.tokens)
    model = architecture.make_model(tokenizer, SIZE, seed=0)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(scale)
    model.save_pretrained(folder)
    architecture.make_processor(tokenizer, SIZE).save_pretrained(folder)
    write_pointer(folder, Pointer(name_or_path=".", revision=None, source="trained", sha256={}))
    return folder


def write_samples(folder: Path, count: int) -> list[Sample]:
    """Render ``count`` scenes below ``folder``, two shapes of picture in turn."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    made = []
    for index in range(count):
        scene = compose(0, "test", index)
        size = (96, 72) if index % 2 else (72, 96)
        picture = draw_boxes(render(scene, (96, 72)), scene.subject_bbox, scene.object_bbox, 0.02).resize(size)
        picture.save(folder / "images" / f"{index}.jpg", "JPEG", quality=92, subsampling=0)
        pair = PicturedTriple(
            subject=scene.subject,
            object=scene.object,
            relation=scene.relation,
            subject_bbox=scene.subject_bbox,
            object_bbox=scene.object_bbox,
            image=f"images/{index}.jpg",
        )
        made.append(Sample(id=str(index), size=size, triples=(pair,), captions_v1=("a",), captions_v2=("b",)))
    return made
