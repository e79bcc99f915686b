"""Hard scenes: subsets of annotated pairs, told from the annotations alone, so that any VSD file has them.

Every score can be asked of each subset. A pair may be in several of them or in none. The files do not say how large
a photo is: where nobody says it, a box can be seen to touch the left and the upper edge only.
"""

from collections.abc import Callable
from typing import NamedTuple

from vsd_utils.data.annotations import BoundingBox, Item, Triple

SUBSETS = {
    "all": "every pair",
    "apart": "the boxes share no pixel",
    "overlapping": "the boxes share pixels, and neither holds nine tenths of the other",
    "contained": "one box holds nine tenths of the other or more",
    "cut": "a box touches the edge of the photo: the left or the upper one; the others where its size is known",
    "small": "a box has fewer than 32 x 32 pixels, which COCO calls small",
    "crowded": "the image has pairs of other boxes too",
    "two labels": "the same two boxes are annotated with two relations in the same direction",
    "people disagree": "captions of the image, which has one triple, state different relations (by rules)",
}
_HELD = 0.9
_SMALL = 32 * 32
# What a caption states, given the two names: relations, several where it has several words; empty where none is read.
Reader = Callable[[str, str, str], frozenset[str]]


class _Pair(NamedTuple):
    item: Item
    triple: Triple
    size: tuple[int, int] | None
    read: Reader | None


def subsets_of(
    item: Item, triple: Triple, size: tuple[int, int] | None = None, read: Reader | None = None
) -> frozenset[str]:
    """Name the subsets of ``SUBSETS`` that an image's pair is in.

    ``size`` is the photo's width and height in pixels. Without ``read`` nobody disagrees.
    """
    pair = _Pair(item, triple, size, read)
    return frozenset(name for name, holds in _TESTS.items() if holds(pair))


def _shared(triple: Triple) -> float:
    """Give the share of the smaller box that lies in the other, 0..1."""
    top, bottom, left, right = triple.s_bbox
    top2, bottom2, left2, right2 = triple.o_bbox
    tall = max(0, min(bottom, bottom2) - max(top, top2))
    wide = max(0, min(right, right2) - max(left, left2))
    return tall * wide / min(_area(triple.s_bbox), _area(triple.o_bbox))


def _area(box: BoundingBox) -> int:
    return (box[1] - box[0]) * (box[3] - box[2])


def _cut(pair: _Pair) -> bool:
    width, height = pair.size or (None, None)
    return any(
        min(box[0], box[2]) == 0 or (height is not None and box[1] >= height) or (width is not None and box[3] >= width)
        for box in (pair.triple.s_bbox, pair.triple.o_bbox)
    )


def _same(first: Triple, second: Triple) -> bool:
    return (first.s_bbox, first.o_bbox) == (second.s_bbox, second.o_bbox)


def _boxes(triple: Triple) -> set[BoundingBox]:
    return {triple.s_bbox, triple.o_bbox}


def _disagree(pair: _Pair) -> bool:
    """Tell whether two captions of an image with one triple state relations of which none is the same."""
    if pair.read is None or len(pair.item.triple_list) > 1:
        return False
    stated = [pair.read(caption, pair.triple.s, pair.triple.o) for caption in dict.fromkeys(pair.item.captions)]
    told = [relations for relations in stated if relations]
    return any(not first & second for number, first in enumerate(told) for second in told[number + 1 :])


_TESTS: dict[str, Callable[[_Pair], bool]] = {
    "all": lambda pair: True,
    "apart": lambda pair: _shared(pair.triple) == 0,
    "overlapping": lambda pair: 0 < _shared(pair.triple) < _HELD,
    "contained": lambda pair: _shared(pair.triple) >= _HELD,
    "cut": _cut,
    "small": lambda pair: min(map(_area, (pair.triple.s_bbox, pair.triple.o_bbox))) < _SMALL,
    "crowded": lambda pair: any(_boxes(other) != _boxes(pair.triple) for other in pair.item.triple_list),
    "two labels": lambda pair: any(
        _same(pair.triple, other) and other.p != pair.triple.p for other in pair.item.triple_list
    ),
    "people disagree": _disagree,
}
