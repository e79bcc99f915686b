"""Where subject and object of a sample scene stand, and which relation two boxes show.

Boxes are ``(ymin, ymax, xmin, xmax)`` in base pixels (the picture is 256 x 192, the maxima are exclusive), of the
whole thing, the hidden part included. Perspective is the flat kind: what is nearer stands lower in the picture and
hides what is behind it. With the subject's box s, the object's o, w and h for width and height, "share" for the part
of the subject's width (height) that lies within the object's columns (rows), and "gap" for the columns between them:

====================  =================================================================================  ============
relation              rule (base pixels)                                                                 which hides
====================  =================================================================================  ============
on                    -1 <= s.ymax - o.ymin <= 0.2 o.h, width share >= 0.8, s.ymin < o.ymin              subject
in                    0.3 o.h <= s.ymax - o.ymin <= 0.7 o.h, s within o's columns, s.ymin < o.ymin       object
next to               0 <= gap <= 6, bases within 8                                                      none
under                 s.ymin - o.ymax >= 12, width share >= 0.6 (o stands on a table or a wall shelf)    none
above                 o.ymin - s.ymax >= 12, width share >= 0.6 (s stands on a wall shelf or a swing)    none
behind                8 <= o.ymax - s.ymax <= 32, height share >= 0.4, width share 0.2 to 0.75           object
in front of           8 <= s.ymax - o.ymax <= 32, height share >= 0.4, width share >= 0.5                subject
to the left of        o.xmin - s.xmax >= 0.4 o.w, bases within 8                                         none
to the right of       s.xmin - o.xmax >= 0.4 o.w, bases within 8                                         none
====================  =================================================================================  ============
"""

from typing import Final, NamedTuple

import numpy as np

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.miniature.scenes.objects import WOODS
from vsd_utils.miniature.scenes.pen import SceneBox
from vsd_utils.miniature.scenes.room import WIDTH, Support

MARGIN: Final = 12  # base pixels that a pair keeps from the picture's sides


def relations_shown(subject_bbox: SceneBox, object_bbox: SceneBox) -> tuple[str, ...]:
    """List the relations whose rule in the table above two boxes meet: one for a scene, at most one for any boxes."""
    s_top, s_base, s_left, s_right = subject_bbox
    o_top, o_base, o_left, o_right = object_bbox
    width, height = o_right - o_left, o_base - o_top
    columns = max(0, min(s_right, o_right) - max(s_left, o_left)) / (s_right - s_left)
    rows = max(0, min(s_base, o_base) - max(s_top, o_top)) / (s_base - s_top)
    left_gap, right_gap, nearer, sunk = o_left - s_right, s_left - o_right, s_base - o_base, s_base - o_top
    level, overtops = abs(nearer) <= 8, s_top < o_top
    rules = {
        "on": -1 <= sunk <= 0.2 * height and columns >= 0.8 and overtops,
        "in": 0.3 * height <= sunk <= 0.7 * height and o_left <= s_left and s_right <= o_right and overtops,
        "next to": (0 <= left_gap <= 6 or 0 <= right_gap <= 6) and level and max(left_gap, right_gap) < 0.4 * width,
        "under": s_top - o_base >= 12 and columns >= 0.6,
        "above": o_top - s_base >= 12 and columns >= 0.6,
        "behind": -32 <= nearer <= -8 and rows >= 0.4 and 0.2 <= columns <= 0.75,
        "in front of": 8 <= nearer <= 32 and rows >= 0.4 and columns >= 0.5,
        "to the left of": left_gap >= 0.4 * width and level,
        "to the right of": right_gap >= 0.4 * width and level,
    }
    return tuple(relation for relation in RELATIONS if rules[relation])


class Layout(NamedTuple):
    """Hold where things stand: the pair's boxes, what carries the raised one, and the hull of all three."""

    subject_bbox: SceneBox
    object_bbox: SceneBox
    support: Support | None
    hull: SceneBox


def lay_out(rng: np.random.Generator, relation: str) -> Layout:
    """Place a pair at random such that ``relation`` holds and no other.

    Names play no part in it, so sizes and places cannot give them away.
    """

    def whole(low: float, high: float) -> int:
        return int(rng.integers(round(low), round(high) + 1))

    # 1. Sizes, which are alike for all relations, and the object's place.
    o_width, o_height = whole(78, 94), whole(58, 68)
    size = rng.uniform(37, 45)
    s_width, s_height = round(size * rng.uniform(0.93, 1.07)), round(size * rng.uniform(0.93, 1.07))
    o_base = whole(158, 178)
    on_the_left = rng.random() >= 0.5
    # 2. The subject's place: its base, and dx from the object's left edge to its own.
    dx = whole(0.14 * o_width, 0.86 * o_width - s_width)
    if relation == "on":
        s_base = o_base - o_height + whole(0.07 * o_height, 0.13 * o_height)
    elif relation == "in":
        s_base = o_base - o_height + round(min(rng.uniform(0.4, 0.55) * o_height, 0.72 * s_height))
    elif relation == "above":
        o_base = whole(168, 184)
        s_base = o_base - o_height - whole(20, 32)
    elif relation == "under":
        o_base, s_base = whole(84, 98), whole(166, 184)
    elif relation == "in front of":
        o_base = whole(150, 166)
        s_base = o_base + whole(14, 19)
        dx = whole(-0.3 * s_width, o_width - 0.7 * s_width)
    elif relation == "behind":
        s_base = o_base - whole(14, 22)
        juts_out = rng.uniform(0.38, 0.6) * s_width
        dx = round(-juts_out) if on_the_left else round(o_width - s_width + juts_out)
    else:
        beside = relation == "next to"
        s_base = o_base + whole(-4, 4)
        gap = whole(1, 4) if beside else round(rng.uniform(0.5, 0.75) * o_width)
        leftwards = on_the_left if beside else relation == "to the left of"
        dx = -gap - s_width if leftwards else o_width + gap
    # 3. Both moved together to somewhere between the picture's sides.
    low, high = min(0, dx), max(o_width, dx + s_width)
    o_left = whole(MARGIN - low, WIDTH - MARGIN - high)
    s_left = o_left + dx
    subject_bbox = (s_base - s_height, s_base, s_left, s_left + s_width)
    object_bbox = (o_base - o_height, o_base, o_left, o_left + o_width)
    # 4. What carries the raised thing, and the hull that everything else in the room keeps clear of.
    top, base = min(subject_bbox[0], object_bbox[0]), max(s_base, o_base)
    hull = (top, base, o_left + low, o_left + high)
    support, wood = None, WOODS[whole(0, len(WOODS) - 1)]
    if relation == "above":
        board = (s_base - 3, s_base + 5, s_left - 9, s_left + s_width + 9)
        swing = rng.random() < 0.5
        support = Support("swing" if swing else "shelf", board, 0, wood)
        hull = (0 if swing else top, base, min(hull[2], board[2]), max(hull[3], board[3]))
    elif relation == "under":
        board = (o_base - 4, o_base + 5, o_left - 10, o_left + o_width + 10)
        support = Support("table" if rng.random() < 0.5 else "shelf", board, s_base + whole(-3, 3), wood)
        hull = (top, max(base, support.floor), board[2], board[3])
    return Layout(subject_bbox, object_bbox, support, hull)
