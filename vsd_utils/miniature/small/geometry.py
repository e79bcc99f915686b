"""What the vision side learns to tell of a picture: where its two boxes are and how they lie to each other, in numbers.

Read off drawn boxes alone. No relation is named, and none is read off here.
"""

import numpy as np
from numpy.typing import NDArray

EDGES = tuple(f"{box} {edge}" for box in ("subject", "object") for edge in ("top", "bottom", "left", "right"))
COMPARISONS = ("across", "down", "tops", "bottoms", "size", "cover", "covered", "wide")
VALUES = (*EDGES, *COMPARISONS)


def values(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the 16 ``VALUES`` of two boxes, float32 (16,), each in -1..1.

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
