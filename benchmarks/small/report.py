"""What the vision side learns to tell of a picture: where its two boxes are and how they lie to each other, in numbers.

A report has one word for each of the 25 patches of a tile of 5 x 5: " red", its four edges, " green", its four, then
eight comparisons under their names. Every value is a digit. It is written in the language model's own words, so the
features of a picture look to it like a text that it can read. No relation is named, and none is read off here.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

EDGES = ("top", "bottom", "left", "right")
COMPARISONS = ("across", "down", "tops", "bottoms", "size", "cover", "covered", "wide")
DIGITS = 10

# A name, and behind it the digits of how many values, in the order of ``values``.
_LAYOUT = (
    (" red", 4),
    (" green", 4),
    (" across", 1),
    (" down", 1),
    (" tops", 1),
    (" bottoms", 1),
    (" size", 1),
    (" cover", 2),
    (" wide", 1),
)
NAMES = tuple(name for name, _ in _LAYOUT)
LENGTH = sum(1 + count for _, count in _LAYOUT)


def values(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the 16 values of a report, each in -1..1: ``boxes``' eight edges, then ``COMPARISONS``.

    ``boxes`` (2, 4) are subject's and object's [top, bottom, left, right] as shares of the tile. Across, down, tops and
    bottoms are distances (subject minus object) in mean box widths or heights, size and wide are ratios, cover and
    covered the shares of each box that lie in the other.
    """
    lows, highs = boxes[:, [0, 2]], boxes[:, [1, 3]]  # (2, 2): of each box along the height, along the width
    sides = np.maximum(highs - lows, 1e-3)
    scale = sides.mean(axis=0)
    centres = (lows + highs) / 2
    down, across = np.tanh((centres[0] - centres[1]) / scale)
    tops, bottoms = np.tanh((boxes[0, :2] - boxes[1, :2]) / scale[0])
    areas = sides.prod(axis=1)
    shared = np.clip(highs.min(axis=0) - lows.max(axis=0), 0, None).prod()
    cover, covered = np.clip(2 * shared / areas - 1, -1, 1)
    size, wide = np.tanh(np.log(areas[0] / areas[1]) / 2), np.tanh(np.log(sides[0, 1] / sides[1, 1]))
    told = [*(2 * boxes - 1).ravel(), across, down, tops, bottoms, size, cover, covered, wide]
    return np.array(told, dtype=np.float32)


def words(told: Sequence[float] | NDArray[np.float32]) -> list[str]:
    """Write the report of ``values`` as ``LENGTH`` words, each a token of the language model."""
    digits = iter(str(int(np.clip((value + 1) / 2 * DIGITS, 0, DIGITS - 1))) for value in told)
    return [word for name, count in _LAYOUT for word in (name, *(next(digits) for _ in range(count)))]
