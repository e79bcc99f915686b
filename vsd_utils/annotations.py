"""The Visual Spatial Description annotations, as their authors and the ACM MM 2024 challenge publish them.

A file is a JSON list of ``{"img_id", "triple_list": [{"s", "o", "p", "s_bbox", "o_bbox"}], "captions": [...]}``
(``zhaoyucs/VSD``; the challenge names the captions ``description`` and allows a bare string). A box is
``[ymin, ymax, xmin, xmax]`` in pixels from the top left corner. VSDv1 has several short captions an image, VSDv2 one
longer one; both list the same images, v2 at times fewer of an image's triples.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vsd_utils.errors import VsdError, shown
from vsd_utils.files import read_json
from vsd_utils.relations import RELATIONS

SPLITS = ("train", "val", "test")
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


def load_items(path: Path, skipped: list[str] | None = None) -> list[Item]:
    """Read and check one annotation file, in its order.

    With ``skipped`` given, a broken item is left out and its message appended there, for the caller to count and
    report; otherwise the first one raises ``VsdError`` naming file, item and field.
    """
    return _load(path, skipped)[0]


def _load(path: Path, skipped: list[str] | None) -> tuple[list[Item], set[str]]:
    """The valid items, and the ids of those that were left out."""
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise VsdError(
            f"{path}: expected a JSON list of images, found {shown(content)}. Is this a VSD annotation file?"
        )
    items: list[Item] = []
    seen: dict[str, int] = {}
    left_out: set[str] = set()
    for number, raw in enumerate(content):
        where = f"{path}, item {number}" + (f" (img_id {shown(raw['img_id'])})" if _has_id(raw) else "")
        try:
            item = Item.model_validate(raw)
            if item.img_id in seen:
                raise VsdError(f"{where}: duplicate img_id, also item {seen[item.img_id]}. Keep one of the two.")
        except ValidationError as error:
            problem = f"{where}: {_first_problem(error)}. Mend it, or set convert.skip_invalid to leave such items out."
            left_out |= {str(raw["img_id"])} if _has_id(raw) and isinstance(raw["img_id"], str | int) else set()
        except VsdError as error:
            problem = str(error)
        else:
            seen[item.img_id] = number
            items.append(item)
            continue
        if skipped is None:
            raise VsdError(problem) from None
        skipped.append(problem)
    return items, left_out


def load_pairs(v1_path: Path, v2_path: Path, skipped: list[str] | None = None) -> list[tuple[Item, Item]]:
    """Read both versions of a split and pair them by image, in v1's order.

    Every image must be in both files, and every triple of v2 among the image's triples in v1 (so it is in the
    authors' files). A disagreement raises ``VsdError``, or is appended to ``skipped`` where that is given; an image
    that is broken in one file is counted there, and not once more as missing beside the other.
    """
    first, first_broken = _load(v1_path, skipped)
    second, second_broken = _load(v2_path, skipped)
    by_id = {item.img_id: item for item in second}
    pairs: list[tuple[Item, Item]] = []
    problems = [
        f"{v1_path}: has no image {img_id!r}, which {v2_path} lists. Are these two files of one split?"
        for img_id in sorted(by_id.keys() - {item.img_id for item in first} - first_broken)
    ]
    for item in first:
        other = by_id.get(item.img_id)
        if other is None:
            if item.img_id not in second_broken:
                problems.append(
                    f"{v2_path}: has no image {item.img_id!r}, which {v1_path} lists. Are these two files of one split?"
                )
        elif strange := [triple for triple in other.triple_list if triple not in item.triple_list]:
            problems.append(
                f"{v2_path}, img_id {item.img_id!r}: its triple {_words(strange[0])} is not among the image's triples "
                f"in {v1_path}: {'; '.join(map(_words, item.triple_list))}. The two versions disagree; mend one."
            )
        else:
            pairs.append((item, other))
    if problems and skipped is None:
        more = f" ({len(problems) - 1} more disagreements)" if len(problems) > 1 else ""
        raise VsdError(problems[0] + more)
    if skipped is not None:
        skipped.extend(problems)
    return pairs


def texts(items: list[tuple[Item, Item]]) -> Iterator[str]:
    """All captions of both versions, image by image."""
    for first, second in items:
        yield from first.captions
        yield from second.captions


def _words(triple: Triple) -> str:
    return f"({triple.s!r}, {triple.p}, {triple.o!r}, boxes {list(triple.s_bbox)} {list(triple.o_bbox)})"


def _has_id(raw: Any) -> bool:
    return isinstance(raw, dict) and "img_id" in raw


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    field = ".".join(map(str, problem["loc"])) or "the item"
    count = error.error_count()
    more = f" ({count - 1} more in this item)" if count > 1 else ""
    if problem["type"] == "missing":
        return f"key {field!r} is missing; {_FORM[len(problem['loc'])]}{more}"
    message = problem["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
    message = message.replace("a valid dictionary or instance of", "a JSON object, as in")
    return f"{field}: {message}, found {shown(problem['input'])}{more}"


_FORM = {  # what should be there, by how deep the missing key lies
    1: "an item has img_id, triple_list and captions (or description)",
    3: "a triple has s, o, p, s_bbox and o_bbox",
    4: "a box is [ymin, ymax, xmin, xmax]",
}
