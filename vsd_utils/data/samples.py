"""Samples: one image with its triples, its captions of both versions, and the image that the model is shown.

File format (``data/samples/<split>.jsonl``), one line an image: ``id`` (the image's), ``size`` [width, height] in
pixels, ``triples`` (``subject``, ``object``, ``relation``, ``subject_bbox``, ``object_bbox`` and ``image``: where the
picture with this pair's boxes drawn on it lies, relative to ``data/samples``), ``captions_v1``, ``captions_v2``.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import BaseModel, ConfigDict

from vsd_utils.common.files import read_jsonl, replacing
from vsd_utils.common.paths import SAMPLES
from vsd_utils.data.annotations import Item, Triple
from vsd_utils.data.images import canvas_size, check_boxes, draw_boxes, empty_canvas, named_boxes
from vsd_utils.data.photos import open_photo, photo_of

_UNSAFE = re.compile(r"[^\w.-]")  # what an image id may not bring into a file name


class Pair(BaseModel):
    """A subject and an object in an image, their relation, boxes ``[ymin, ymax, xmin, xmax]`` and their picture."""

    model_config = ConfigDict(frozen=True)

    subject: str
    object: str
    relation: str
    subject_bbox: tuple[int, int, int, int]
    object_bbox: tuple[int, int, int, int]
    image: str


class Sample(BaseModel):
    """An image of a split; see the module's description for the file format."""

    model_config = ConfigDict(frozen=True)

    id: str
    size: tuple[int, int]
    triples: tuple[Pair, ...]
    captions_v1: tuple[str, ...]
    captions_v2: tuple[str, ...]

    def triple_id(self, number: int) -> str:
        """Id of the ``number``-th triple, from 0; unique over the split."""
        return f"{self.id}#{number}"


def build(
    pairs: list[tuple[Item, Item]],
    photos: Path | None,
    index: Mapping[str, list[Path]],
    draw: bool,
    box_width: float,
    canvas_margin: float,
    target: Path = SAMPLES,
) -> Iterator[Sample]:
    """Make the samples of a split one by one and write each triple's picture below ``target``.

    ``photos`` is the folder that ``index`` (``photos.index_photos``) speaks of; without it the boxes are drawn on an
    empty canvas. Raises ``VsdError`` for a missing or unreadable photo and for a box outside it.
    """
    for first, second in pairs:
        picture, where = _picture(first, photos, index, canvas_margin)
        check_boxes(picture.size, named_boxes(first.triple_list), where)
        yield Sample(
            id=first.img_id,
            size=picture.size,
            triples=tuple(
                _pair(first.img_id, number, triple, picture, draw, box_width, target)
                for number, triple in enumerate(first.triple_list)
            ),
            captions_v1=tuple(map(_fold, first.captions)),
            captions_v2=tuple(map(_fold, second.captions)),
        )


def load(split: str, root: Path = SAMPLES) -> list[Sample]:
    """The samples of a split, in the annotations' order."""
    return [Sample.model_validate(row) for row in read_jsonl(root / f"{split}.jsonl")]


def _picture(
    item: Item, photos: Path | None, index: Mapping[str, list[Path]], canvas_margin: float
) -> tuple[Image.Image, str]:
    if photos is None:
        boxes = named_boxes(item.triple_list).values()
        return empty_canvas(canvas_size(boxes, canvas_margin)), f"img_id {item.img_id!r}"
    path = photo_of(item.img_id, photos, index)
    return open_photo(path), f"{path}, img_id {item.img_id!r}"


def _pair(
    img_id: str, number: int, triple: Triple, picture: Image.Image, draw: bool, box_width: float, target: Path
) -> Pair:
    name = Path("images") / f"{_file_name(img_id)}_{number}.jpg"
    drawn = draw_boxes(picture, triple.s_bbox, triple.o_bbox, box_width) if draw else picture
    with replacing(target / name) as temporary:
        # Chroma at full resolution, because the boxes are told apart by thin coloured lines.
        drawn.save(temporary, "JPEG", quality=92, subsampling=0)
    return Pair(
        subject=_fold(triple.s),
        object=_fold(triple.o),
        relation=triple.p,
        subject_bbox=triple.s_bbox,
        object_bbox=triple.o_bbox,
        image=name.as_posix(),
    )


def _file_name(img_id: str) -> str:
    # Two ids that differ only in unsafe characters must not share a picture.
    safe = _UNSAFE.sub("_", img_id)
    return safe if safe == img_id else f"{safe}-{hashlib.sha256(img_id.encode()).hexdigest()[:8]}"


def _fold(text: str) -> str:
    # Some captions and names hold doubled or trailing blanks; nothing downstream may depend on them.
    return " ".join(text.split())


def as_row(sample: Sample) -> dict[str, Any]:
    """The sample as a line of the file."""
    return sample.model_dump(mode="json")
