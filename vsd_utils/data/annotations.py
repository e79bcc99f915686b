"""The Visual Spatial Description annotations, as their authors and the ACM MM 2024 challenge publish them.

A file is a JSON list of ``{"img_id", "triple_list": [{"s", "o", "p", "s_bbox", "o_bbox"}], "captions": [...]}``
(``zhaoyucs/VSD``; the challenge names the captions ``description`` and allows a bare string). A box is
``[ymin, ymax, xmin, xmax]`` in pixels from the top left corner. VSDv1 has several short captions an image, VSDv2 one
longer one; both list the same images, v2 at times fewer of an image's triples.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vsd_utils.common.errors import VsdError, listed, shown
from vsd_utils.common.files import read_json

SPLITS = ("train", "val", "test")
# In the order in which they are shown everywhere.
RELATIONS = ("on", "in", "next to", "under", "above", "behind", "in front of", "to the left of", "to the right of")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON may hold one, UTF-8 may not


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise ValueError("is no text; it holds half of a UTF-16 pair")
    return text


def _relation(label: str) -> str:
    if label not in RELATIONS:
        raise ValueError(f"is no relation; the nine are {', '.join(RELATIONS)}")
    return label


def _box(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    top, bottom, left, right = box
    if min(box) < 0 or top >= bottom or left >= right:
        raise ValueError("is no box [ymin, ymax, xmin, xmax] with 0 <= ymin < ymax and 0 <= xmin < xmax")
    return box


def _some(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("is empty; an image needs at least one")
    return values


def _captions(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_name)]
Relation = Annotated[str, AfterValidator(_relation)]
Box = Annotated[tuple[int, int, int, int], AfterValidator(_box)]


class Triple(BaseModel):
    """Subject ``s``, object ``o``, their relation ``p`` and their boxes ``[ymin, ymax, xmin, xmax]`` in pixels."""

    model_config = ConfigDict(frozen=True)

    s: Name
    o: Name
    p: Relation
    s_bbox: Box
    o_bbox: Box


class Item(BaseModel):
    """One image: its id, at least one triple, at least one caption that is not blank."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    img_id: Name
    triple_list: Annotated[tuple[Triple, ...], AfterValidator(_some)]
    captions: Annotated[
        tuple[Name, ...],
        BeforeValidator(_captions),
        AfterValidator(_some),
        Field(validation_alias=AliasChoices("captions", "description")),
    ]


class Unusable(NamedTuple):
    """An image that no run can use, and everything that is wrong with it.

    ``img_id`` is None where the item has none. Each problem begins with its place: file and item.
    """

    img_id: str | None
    problems: tuple[str, ...]


def load_items(path: Path) -> list[Item]:
    """Read one annotation file, in its order; raises ``VsdError`` naming every broken item with its field."""
    items, unusable = read_items(path)
    _refuse(unusable)
    return items


def load_pairs(v1_path: Path, v2_path: Path) -> list[tuple[Item, Item]]:
    """Read both versions of a split and pair them by image, in v1's order.

    Raises ``VsdError`` naming every broken item and every disagreement of the two files.
    """
    pairs, unusable = read_pairs(v1_path, v2_path)
    _refuse(unusable)
    return pairs


def read_items(path: Path) -> tuple[list[Item], list[Unusable]]:
    """Read one annotation file and sort its valid items from the broken ones, each in the file's order.

    Of several items with one id the first is taken. Raises ``VsdError`` for a file that is no list of images.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise VsdError(
            f"{path}: expected a JSON list of images, found {shown(content)}. Is this a VSD annotation file?"
        )
    items: list[Item] = []
    unusable: list[Unusable] = []
    seen: dict[str, int] = {}
    for number, raw in enumerate(content):
        img_id = str(raw["img_id"]) if isinstance(raw, dict) and isinstance(raw.get("img_id"), str | int) else None
        where = f"{path}, item {number}" + (f" (img_id {img_id!r})" if img_id is not None else "")
        try:
            item = Item.model_validate(raw)
        except ValidationError as error:
            unusable.append(Unusable(img_id, tuple(f"{where}: {problem}" for problem in _problems(error))))
            continue
        if item.img_id in seen:
            double = f"{where}: duplicate img_id, also item {seen[item.img_id]}. Keep one of the two."
            unusable.append(Unusable(img_id, (double,)))
            continue
        seen[item.img_id] = number
        items.append(item)
    return items, unusable


def read_pairs(v1_path: Path, v2_path: Path) -> tuple[list[tuple[Item, Item]], list[Unusable]]:
    """Pair both versions of a split by image, in v1's order, and sort out the images that are not valid in both.

    Every image must be in both files, and every triple of v2 among the image's triples in v1 (so it is in the
    authors' files). An image that is broken in one file is not named once more as missing beside the other.
    """
    first, first_broken = read_items(v1_path)
    second, second_broken = read_items(v2_path)
    by_id = {item.img_id: item for item in second}
    known = {item.img_id for item in first} | {one.img_id for one in first_broken}
    unusable = [
        *first_broken,
        *second_broken,
        *(_alone(img_id, v2_path, v1_path) for img_id in by_id if img_id not in known),
    ]
    broken_in_second = {one.img_id for one in second_broken}
    pairs: list[tuple[Item, Item]] = []
    for item in first:
        other = by_id.get(item.img_id)
        if other is None:
            if item.img_id not in broken_in_second:
                unusable.append(_alone(item.img_id, v1_path, v2_path))
        elif strange := [triple for triple in other.triple_list if triple not in item.triple_list]:
            problem = (
                f"{v2_path}, img_id {item.img_id!r}: its triple {_words(strange[0])} is not among the image's triples "
                f"in {v1_path}: {'; '.join(map(_words, item.triple_list))}. The two versions disagree; mend one."
            )
            unusable.append(Unusable(item.img_id, (problem,)))
        else:
            pairs.append((item, other))
    return pairs, unusable


def texts(items: list[tuple[Item, Item]]) -> Iterator[str]:
    """All captions of both versions, image by image."""
    for first, second in items:
        yield from first.captions
        yield from second.captions


def _words(triple: Triple) -> str:
    return f"({triple.s!r}, {triple.p}, {triple.o!r}, boxes {list(triple.s_bbox)} {list(triple.o_bbox)})"


def _alone(img_id: str, path: Path, other: Path) -> Unusable:
    problem = f"{other}: has no image {img_id!r}, which {path} lists. Are these two files of one split?"
    return Unusable(img_id, (problem,))


def _refuse(unusable: list[Unusable]) -> None:
    if unusable:
        raise VsdError(listed([problem for one in unusable for problem in one.problems]))


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
