"""Visual Relationship Detection (Lu et al., ECCV 2016, arXiv 1608.00187) as data of another kind, for task 1.

Its annotations name 70 predicates between boxes of 100 categories and have no captions. Those predicates that say
where something is are read as one of VSD's nine relations (``RELATION_OF``, a reading of ours). A pair may have
several, and any of them is right.

Read from a folder with the files of its release: ``annotations_test.json`` ({photo: [{"predicate": n, "subject":
{"category": n, "bbox"}, "object": ...}]}, boxes [ymin, ymax, xmin, xmax]), ``objects.json``, ``predicates.json`` (their
names) and ``image_metadata_test.json`` ({photo: {"width", "height"}}).
"""

import random
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json
from vsd_utils.data.annotations import BoundingBox, Item, Triple

# What VRD calls it, by VSD's relation. "near" is looser than "next to", and most of what is read as that.
_PREDICATES = {
    "on": ("on", "on the top of", "sit on", "stand on"),
    "in": ("in", "inside"),
    "next to": ("next to", "beside", "adjacent to", "near"),
    "under": ("under", "below", "beneath"),
    "above": ("above", "over"),
    "behind": ("behind",),
    "in front of": ("in the front of",),
    "to the left of": ("on the left of",),
    "to the right of": ("on the right of",),
}
RELATION_OF = {predicate: relation for relation, predicates in _PREDICATES.items() for predicate in predicates}


class LabelledImage(NamedTuple):
    """Hold an image, its pairs as triples (of several right relations the first), and all that are right of each.

    ``item`` has no caption: VRD has none. ``size`` is the photo's width and height in pixels.
    """

    item: Item
    labels: tuple[frozenset[str], ...]
    size: tuple[int, int]


class Reading(NamedTuple):
    """Hold the images, and what of the file is not in them: relations with other predicates, and unusable boxes."""

    images: list[LabelledImage]
    other_predicates: int
    unusable_boxes: int


class _Box(BaseModel):
    model_config = ConfigDict(frozen=True)

    category: int = Field(ge=0)
    bbox: tuple[int, int, int, int]


class _Relation(BaseModel):
    predicate: int = Field(ge=0)
    subject: _Box
    object: _Box


class _Size(BaseModel):
    width: int = Field(ge=1)
    height: int = Field(ge=1)


_ANNOTATIONS = TypeAdapter(dict[str, list[_Relation]])
_SIZES = TypeAdapter(dict[str, _Size])
_NAMES = TypeAdapter(list[str])


def load(folder: Path) -> Reading:
    """Read the test half; raises ``VsdError`` naming file and field of what is not as its release has it."""
    annotations = _checked(folder / "annotations_test.json", _ANNOTATIONS)
    # By the name without its ending: the release calls one photo .jpg in one file and .gif in the other.
    sizes = {Path(name).stem: size for name, size in _checked(folder / "image_metadata_test.json", _SIZES).items()}
    objects, predicates = (_checked(folder / f"{name}.json", _NAMES) for name in ("objects", "predicates"))
    images, other, unusable = [], 0, 0
    for photo, relations in annotations.items():
        measured = sizes.get(Path(photo).stem)
        if measured is None:
            raise VsdError(f"{folder / 'image_metadata_test.json'}: has no {photo!r}, which the annotations list")
        size = measured.width, measured.height
        found: defaultdict[tuple[str, str, BoundingBox, BoundingBox], dict[str, None]] = defaultdict(dict)
        for number, one in enumerate(relations):
            try:
                names = [objects[side.category] for side in (one.subject, one.object)]
                relation = RELATION_OF.get(predicates[one.predicate])
            except IndexError:
                where = f"{folder / 'annotations_test.json'}: {photo!r}, relation {number}"
                raise VsdError(f"{where}: a category or a predicate has no name in the lists beside it") from None
            boxes = [_clipped(side.bbox, size) for side in (one.subject, one.object)]
            if relation is None:
                other += 1
            elif any(top >= bottom or left >= right for top, bottom, left, right in boxes):
                unusable += 1
            else:
                found[names[0], names[1], boxes[0], boxes[1]][relation] = None
        if found:
            images.append(_image(photo, found, size))
    return Reading(images, other, unusable)


def predicates() -> list[tuple[str, tuple[str, ...]]]:
    """List the predicates that are read as each relation."""
    return list(_PREDICATES.items())


def drawn(images: list[LabelledImage], count: int, seed: int) -> list[LabelledImage]:
    """Draw ``count`` images by seed, in the file's order; all of them where there are no more."""
    if count >= len(images):
        return images
    chosen = sorted(random.Random(seed).sample(range(len(images)), count))
    return [images[number] for number in chosen]


def _image(photo: str, found: Mapping[Any, Mapping[str, None]], size: tuple[int, int]) -> LabelledImage:
    triples = tuple(
        Triple(s=s, o=o, p=next(iter(relations)), s_bbox=s_bbox, o_bbox=o_bbox)
        for (s, o, s_bbox, o_bbox), relations in found.items()
    )
    item = Item.model_construct(img_id=photo, triple_list=triples, captions=())
    return LabelledImage(item, tuple(map(frozenset, found.values())), size)


def _clipped(box: BoundingBox, size: tuple[int, int]) -> BoundingBox:
    """Cut a box off at the photo's edges, which some reach over."""
    top, bottom, left, right = box
    return max(0, top), min(size[1], bottom), max(0, left), min(size[0], right)


def _checked(path: Path, expected: TypeAdapter[Any]) -> Any:
    if not path.is_file():
        raise VsdError(f"{path}: no such file. Its folder has to hold the files of the VRD release (vsd vrd --help)")
    try:
        return expected.validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise VsdError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
