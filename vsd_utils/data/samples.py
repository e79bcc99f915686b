"""Samples: one image with its triples, its captions of both versions, and the image that the model is shown.

File format (``data/samples/<split>.jsonl``), one line an image: ``id`` (the image's), ``size`` [width, height] in
pixels, ``triples`` (``subject``, ``object``, ``relation``, ``subject_bbox``, ``object_bbox`` and ``image``: where the
picture with this pair's boxes drawn on it lies, relative to ``data/samples``), ``captions_v1``, ``captions_v2``.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict

from vsd_utils.common.files import read_jsonl, replacing
from vsd_utils.common.paths import SAMPLES
from vsd_utils.common.sections import Convert
from vsd_utils.data.annotations import Item, Triple, Versions
from vsd_utils.data.images import canvas_size, check_boxes, draw_boxes, empty_canvas, named_boxes
from vsd_utils.data.photos import PhotoFolder, open_photo, photo_of

_UNSAFE = re.compile(r"[^\w.-]")  # what an image id may not bring into a file name


class PicturedTriple(BaseModel):
    """Hold a subject, an object, their relation, boxes ``[ymin, ymax, xmin, xmax]`` in pixels, and their picture."""

    model_config = ConfigDict(frozen=True)

    subject: str
    object: str
    relation: str
    subject_bbox: tuple[int, int, int, int]
    object_bbox: tuple[int, int, int, int]
    image: str


class Sample(BaseModel):
    """Hold an image of a split; see the module's description for the file format."""

    model_config = ConfigDict(frozen=True)

    id: str
    size: tuple[int, int]
    triples: tuple[PicturedTriple, ...]
    captions_v1: tuple[str, ...]
    captions_v2: tuple[str, ...]

    def triple_id(self, number: int) -> str:
        """Name the ``number``-th triple, from 0; unique over the split."""
        return f"{self.id}#{number}"


def build(
    images: Iterable[Versions], photos: PhotoFolder | None, settings: Convert, target: Path = SAMPLES
) -> Iterator[Sample]:
    """Make the samples of a split one by one and write each triple's picture below ``target``.

    Without ``photos`` the boxes are drawn on an empty canvas. Of ``settings`` ``draw_boxes``, ``box_width`` and
    ``canvas_margin`` are read. Raises ``VsdError`` for a missing or unreadable photo and for a box outside it.
    """
    for v1_item, v2_item in images:
        background, where = _background(v1_item, photos, settings.canvas_margin)
        check_boxes(background.size, named_boxes(v1_item.triple_list), where)
        yield Sample(
            id=v1_item.img_id,
            size=background.size,
            triples=tuple(
                _pictured(triple, background, _picture_name(v1_item.img_id, number), settings, target)
                for number, triple in enumerate(v1_item.triple_list)
            ),
            captions_v1=tuple(map(_fold, v1_item.captions)),
            captions_v2=tuple(map(_fold, v2_item.captions)),
        )


def load(split: str, root: Path = SAMPLES) -> list[Sample]:
    """Read the samples of a split, in the annotations' order."""
    return [Sample.model_validate(row) for row in read_jsonl(root / f"{split}.jsonl")]


def as_row(sample: Sample) -> dict[str, Any]:
    """Turn a sample into a line of the file."""
    return sample.model_dump(mode="json")


def _background(item: Item, photos: PhotoFolder | None, canvas_margin: float) -> tuple[Image.Image, str]:
    """Load what the boxes of an image are drawn on, and name it for messages."""
    if photos is None:
        boxes = named_boxes(item.triple_list).values()
        return empty_canvas(canvas_size(boxes, canvas_margin)), f"img_id {item.img_id!r}"
    path = photo_of(item.img_id, photos)
    return open_photo(path), f"{path}, img_id {item.img_id!r}"


def _pictured(triple: Triple, background: Image.Image, name: Path, settings: Convert, target: Path) -> PicturedTriple:
    """Write the picture of a triple to ``target / name``."""
    picture = background
    if settings.draw_boxes:
        picture = draw_boxes(background, triple.s_bbox, triple.o_bbox, settings.box_width)
    with replacing(target / name) as temporary:
        # Chroma at full resolution, because the boxes are told apart by thin coloured lines.
        picture.save(temporary, "JPEG", quality=92, subsampling=0)
    return PicturedTriple(
        subject=_fold(triple.s),
        object=_fold(triple.o),
        relation=triple.p,
        subject_bbox=triple.s_bbox,
        object_bbox=triple.o_bbox,
        image=name.as_posix(),
    )


def _picture_name(img_id: str, number: int) -> Path:
    """Name the picture of an image's ``number``-th triple, relative to the samples' folder."""
    # Two ids that differ only in unsafe characters must not share a picture.
    safe = _UNSAFE.sub("_", img_id)
    stem = safe if safe == img_id else f"{safe}-{hashlib.sha256(img_id.encode()).hexdigest()[:8]}"
    return Path("images") / f"{stem}_{number}.jpg"


def _fold(text: str) -> str:
    # Some captions and names hold doubled or trailing blanks; nothing downstream may depend on them.
    return " ".join(text.split())
