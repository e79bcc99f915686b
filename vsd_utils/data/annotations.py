"""The Visual Spatial Description annotations, as their authors and the ACM MM 2024 challenge publish them.

A file is a JSON list of ``{"img_id", "triple_list": [{"s", "o", "p", "s_bbox", "o_bbox"}], "captions": [...]}``
(``zhaoyucs/VSD``; the challenge names the captions ``description`` and allows a bare string). A box is
``[ymin, ymax, xmin, xmax]`` in pixels from the top left corner. VSDv1 has several short captions an image, VSDv2 one
longer one; both list the same images, v2 at times fewer of an image's triples.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vsd_utils.common.errors import VsdError, listed, shown
from vsd_utils.common.files import read_json

SPLITS = ("train", "val", "test")
# In the order in which they are shown everywhere.
RELATIONS = ("on", "in", "next to", "under", "above", "behind", "in front of", "to the left of", "to the right of")
# What the object is to the subject where the subject is this to the object; on and in have none among the nine.
INVERSE: Final[Mapping[str, str]] = {
    "next to": "next to",
    "under": "above",
    "above": "under",
    "behind": "in front of",
    "in front of": "behind",
    "to the left of": "to the right of",
    "to the right of": "to the left of",
}
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may hold one, UTF-8 may not


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise ValueError("is not valid text: it holds half of a UTF-16 surrogate pair")
    return text


def _relation(label: str) -> str:
    if label not in RELATIONS:
        raise ValueError(f"is not one of the nine relations: {', '.join(RELATIONS)}")
    return label


def _box(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, bottom, left, right = box
    if min(box) < 0 or top >= bottom or left >= right:
        raise ValueError("is not a box [ymin, ymax, xmin, xmax] with 0 <= ymin < ymax and 0 <= xmin < xmax")
    return box


def _at_least_one(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("is empty; an image needs at least one")
    return values


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Text = Annotated[str, AfterValidator(_text)]
Relation = Annotated[str, AfterValidator(_relation)]
BoundingBox = Annotated[tuple[int, int, int, int], AfterValidator(_box)]


class Triple(BaseModel):
    """Hold a subject ``s``, an object ``o``, their relation ``p`` and boxes ``[ymin, ymax, xmin, xmax]`` in pixels."""

    model_config = ConfigDict(frozen=True)

    s: Text
    o: Text
    p: Relation
    s_bbox: BoundingBox
    o_bbox: BoundingBox


class Item(BaseModel):
    """Hold one image's annotations in one file: its id, at least one triple, at least one caption that is not blank."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    img_id: Text
    triple_list: Annotated[tuple[Triple, ...], AfterValidator(_at_least_one)]
    captions: Annotated[
        tuple[Text, ...],
        BeforeValidator(_as_list),
        AfterValidator(_at_least_one),
        Field(validation_alias=AliasChoices("captions", "description")),
    ]


class Versions(NamedTuple):
    """Hold one image's item of VSDv1 and its item of VSDv2."""

    v1: Item
    v2: Item


class Unusable(NamedTuple):
    """Name an image that no run can use, and everything that is wrong with it.

    ``img_id`` is None where the item has none. Each problem begins with its place: file and item.
    """

    img_id: str | None
    problems: tuple[str, ...]


def load_items(path: Path) -> list[Item]:
    """Read one annotation file, in its order; raises ``VsdError`` naming every broken item with its field."""
    items, unusable = read_items(path)
    _refuse(unusable)
    return items


def load_versions(v1_path: Path, v2_path: Path) -> list[Versions]:
    """Read both versions of a split and join them by image, in v1's order.

    Raises ``VsdError`` naming every broken item and every disagreement of the two files.
    """
    joined, unusable = read_versions(v1_path, v2_path)
    _refuse(unusable)
    return joined


def read_items(path: Path) -> tuple[list[Item], list[Unusable]]:
    """Read one annotation file and sort its valid items from the broken ones, each in the file's order.

    Of several items with one id the first is taken. Raises ``VsdError`` for a file that is not a list of images.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise VsdError(
            f"{path}: expected a JSON list of images, found {shown(content)}. Is this a VSD annotation file?"
        )
    items: list[Item] = []
    unusable: list[Unusable] = []
    number_of: dict[str, int] = {}
    for number, raw in enumerate(content):
        img_id = str(raw["img_id"]) if isinstance(raw, dict) and isinstance(raw.get("img_id"), str | int) else None
        where = f"{path}, item {number}" + (f" (img_id {img_id!r})" if img_id is not None else "")
        try:
            item = Item.model_validate(raw)
        except ValidationError as error:
            unusable.append(Unusable(img_id, tuple(f"{where}: {problem}" for problem in _problems(error))))
            continue
        if item.img_id in number_of:
            duplicate = f"{where}: duplicate img_id, also item {number_of[item.img_id]}. Keep one of the two."
            unusable.append(Unusable(img_id, (duplicate,)))
            continue
        number_of[item.img_id] = number
        items.append(item)
    return items, unusable


def read_versions(v1_path: Path, v2_path: Path) -> tuple[list[Versions], list[Unusable]]:
    """Join both versions of a split by image, in v1's order, and sort out the images that are not valid in both.

    Every image must be in both files, and every triple of v2 among the image's triples in v1 (so it is in the
    authors' files). An image that is broken in one file is not named once more as missing beside the other. Raises
    ``VsdError`` for a file that is not a list of images.
    """
    v1_items, v1_broken = read_items(v1_path)
    v2_items, v2_broken = read_items(v2_path)
    v2_by_id = {item.img_id: item for item in v2_items}
    ids_in_v1 = {item.img_id for item in v1_items} | {broken.img_id for broken in v1_broken}
    broken_ids_in_v2 = {broken.img_id for broken in v2_broken}
    unusable = [
        *v1_broken,
        *v2_broken,
        *(_in_one_file(img_id, v2_path, v1_path) for img_id in v2_by_id if img_id not in ids_in_v1),
    ]
    joined: list[Versions] = []
    for v1_item in v1_items:
        v2_item = v2_by_id.get(v1_item.img_id)
        if v2_item is None:
            if v1_item.img_id not in broken_ids_in_v2:
                unusable.append(_in_one_file(v1_item.img_id, v1_path, v2_path))
        elif unknown := [triple for triple in v2_item.triple_list if triple not in v1_item.triple_list]:
            problem = (
                f"{v2_path}, img_id {v1_item.img_id!r}: its triple {_words(unknown[0])} is not among the image's "
                f"triples in {v1_path}: {'; '.join(map(_words, v1_item.triple_list))}. The two versions disagree; "
                "mend one."
            )
            unusable.append(Unusable(v1_item.img_id, (problem,)))
        else:
            joined.append(Versions(v1_item, v2_item))
    return joined, unusable


def all_captions(joined: Iterable[Versions]) -> Iterator[str]:
    """Yield the captions of both versions, image by image."""
    for versions in joined:
        yield from versions.v1.captions
        yield from versions.v2.captions


def _words(triple: Triple) -> str:
    return f"({triple.s!r}, {triple.p}, {triple.o!r}, boxes {list(triple.s_bbox)} {list(triple.o_bbox)})"


def _in_one_file(img_id: str, path: Path, other: Path) -> Unusable:
    problem = f"{other}: has no image {img_id!r}, which {path} lists. Are these two files of one split?"
    return Unusable(img_id, (problem,))


def _refuse(unusable: list[Unusable]) -> None:
    if unusable:
        raise VsdError(listed([problem for image in unusable for problem in image.problems]))


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        field = ".".join(map(str, problem["loc"])) or "the item"
        if problem["type"] == "missing":
            yield f"key {field!r} is missing; {_FORM[len(problem['loc'])]}"
        else:
            message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
            message = message.replace("a valid dictionary or instance of", "a JSON object, as in")
            yield f"{field}: {message}, found {shown(problem['input'])}"


_FORM = {  # what should be there, by how deep the missing key lies
    1: "an item has img_id, triple_list and captions (or description)",
    3: "a triple has s, o, p, s_bbox and o_bbox",
    4: "a box is [ymin, ymax, xmin, xmax]",
}
