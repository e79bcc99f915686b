"""The surroundings of a sample scene: wall, floor, what hangs and lies there, and what holds things off the floor."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import ImageDraw

from vsd_utils.miniature.scenes.pen import CREAM, INK, PAINTS, SHADOW, Colour, Pen, SceneBox, shade

WIDTH: Final = 256
HEIGHT: Final = 192

WALLS: Final[tuple[Colour, ...]] = (
    (226, 218, 204),
    (208, 216, 214),
    (220, 209, 214),
    (228, 216, 194),
    (207, 212, 224),
    (216, 220, 204),
    (230, 224, 216),
)
FLOORS: Final[tuple[Colour, ...]] = (
    (192, 166, 138),
    (174, 154, 136),
    (184, 174, 166),
    (164, 150, 144),
    (200, 182, 156),
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Describe something on the wall."""

    kind: Literal["window", "picture", "bookshelf"]
    box: SceneBox
    colour: Colour
    accent: Colour


@dataclass(frozen=True, slots=True)
class Support:
    """Describe what carries a thing: a board (``box``) on the wall, on ropes, or on legs down to ``floor``."""

    kind: Literal["shelf", "swing", "table"]
    box: SceneBox
    floor: int
    colour: Colour


@dataclass(frozen=True, slots=True)
class Room:
    """Describe wall and floor, which meet at ``horizon`` (base pixels from the top), and what is on them."""

    wall: Colour
    floor: Colour
    horizon: int
    paper: Literal["plain", "stripes", "dots", "panels"]
    planks: bool
    pieces: tuple[Piece, ...]
    rug: tuple[SceneBox, Colour] | None


_SIZES: Final = {"window": (58, 52), "picture": (30, 36), "bookshelf": (28, 58)}


def apart(one: SceneBox, other: SceneBox, gap: int) -> bool:
    """Tell whether two boxes are at least ``gap`` pixels apart, horizontally or vertically."""
    return one[0] - other[1] >= gap or other[0] - one[1] >= gap or one[2] - other[3] >= gap or other[2] - one[3] >= gap


def compose_room(rng: np.random.Generator, hull: SceneBox) -> Room:
    """Choose a room at random whose wall pieces keep clear of ``hull``, the box around what the scene is about."""

    def pick(values: tuple[Colour, ...]) -> Colour:
        return values[int(rng.integers(len(values)))]

    horizon = int(rng.integers(104, 121))
    pieces: list[Piece] = []
    for kind in ("window", "picture", "bookshelf"):
        height, width = _SIZES[kind]
        for _ in range(3 if rng.random() < 0.6 else 0):
            top, left = int(rng.integers(8, horizon - height - 14)), int(rng.integers(8, WIDTH - width - 8))
            box = (top, top + height, left, left + width)
            if apart(box, hull, 9) and all(apart(box, piece.box, 10) for piece in pieces):
                pieces.append(Piece(kind, box, pick(PAINTS), pick(PAINTS)))
                break
    rug = None
    if rng.random() < 0.45:
        middle = (hull[2] + hull[3]) // 2 + int(rng.integers(-24, 25))
        half, top = int(rng.integers(70, 104)), int(rng.integers(horizon + 16, 146))
        rug = ((top, top + int(rng.integers(38, 46)), middle - half, middle + half), pick(PAINTS))
    return Room(
        wall=pick(WALLS),
        floor=pick(FLOORS),
        horizon=horizon,
        paper=("plain", "stripes", "dots", "panels")[int(rng.integers(4))],
        planks=bool(rng.random() < 0.6),
        pieces=tuple(pieces),
        rug=rug,
    )


def _paper(draw: ImageDraw.ImageDraw, room: Room, scale: float) -> None:
    right, low, soft = WIDTH * scale, (room.horizon - 7) * scale, shade(room.wall, 0.22)
    if room.paper == "stripes":
        for x in range(4, WIDTH, 16):
            draw.rectangle((x * scale, 0, (x + 7) * scale, low), soft)
    elif room.paper == "dots":
        radius = 1.3 * scale
        for row, y in enumerate(range(8, room.horizon - 9, 16)):
            for x in range(8 + 10 * (row % 2), WIDTH, 20):
                box = (x * scale - radius, y * scale - radius, x * scale + radius, y * scale + radius)
                draw.ellipse(box, soft)
    elif room.paper == "panels":
        top = low - 34 * scale
        draw.rectangle((0, top, right, low), soft)
        draw.line((0, top, right, top), shade(room.wall, -0.14), max(1, round(1.5 * scale)))
        for x in range(6, WIDTH, 32):
            box = (x * scale, top + 6 * scale, (x + 24) * scale, low - 5 * scale)
            draw.rectangle(box, None, shade(room.wall, -0.1), max(1, round(0.6 * scale)))


def _ground(draw: ImageDraw.ImageDraw, room: Room, scale: float) -> None:
    right, top, low = WIDTH * scale, room.horizon * scale, HEIGHT * scale
    line, width = shade(room.floor, -0.1), max(1, round(0.6 * scale))
    if room.planks:
        for step in range(-9, 10):
            draw.line(((128 + 17 * step) * scale, top, (128 + 34 * step) * scale, low), line, width)
        for step, y in enumerate((0.12, 0.3, 0.55, 0.85)):
            height = top + (low - top) * y
            for column in range(-4, 4):
                spread = 17 * (1 + y)
                x = 128 + (2 * column + step % 2) * spread
                draw.line((x * scale, height, (x + spread) * scale, height), line, width)
    else:
        draw.rectangle((0, top, right, top + (low - top) * 0.28), shade(room.floor, -0.04))
    draw.rectangle((0, top - 7 * scale, right, top), shade(room.wall, 0.55))
    draw.line((0, top - 7 * scale, right, top - 7 * scale), shade(room.wall, -0.2), width)
    draw.line((0, top, right, top), shade(room.floor, -0.4), max(1, round(scale)))


def _window(pen: Pen, piece: Piece) -> None:
    pen.rect(0.1, 0.06, 0.9, 0.92, CREAM, shade(piece.colour, -0.3))
    pen.rect(0.17, 0.13, 0.83, 0.86, (190, 212, 224), shade(piece.colour, -0.3))
    pen.oval(0.58, 0.2, 0.74, 0.36, (248, 236, 196), None)
    pen.oval(0.22, 0.3, 0.42, 0.42, (236, 242, 244), None)
    pen.oval(0.32, 0.26, 0.5, 0.4, (236, 242, 244), None)
    pen.poly([(0.18, 0.85), (0.18, 0.66), (0.4, 0.58), (0.62, 0.72), (0.82, 0.64), (0.82, 0.85)], (164, 182, 160), None)
    pen.rect(0.48, 0.13, 0.52, 0.86, CREAM, None)
    pen.rect(0.17, 0.49, 0.83, 0.53, CREAM, None)
    cloth = shade(piece.colour, 0.3)
    for edge, tie in ((0.0, 0.12), (1.0, 0.88)):
        inner = 0.36 if edge == 0 else 0.64
        foot = 0.24 if edge == 0 else 0.76
        pen.poly([(edge, 0.04), (inner, 0.04), (tie, 0.66), (foot, 0.98), (edge, 0.98)], cloth, shade(cloth, -0.3))
    pen.rect(0, 0, 1, 0.06, shade(piece.accent, -0.3))
    pen.rect(0.06, 0.92, 0.94, 0.98, CREAM, shade(piece.colour, -0.3))


def _picture(pen: Pen, piece: Piece) -> None:
    pen.rect(0, 0, 1, 1, shade(piece.colour, -0.2))
    pen.rect(0.11, 0.13, 0.89, 0.87, CREAM, None)
    pen.rect(0.2, 0.22, 0.8, 0.78, shade(piece.accent, 0.55), None)
    pen.oval(0.58, 0.27, 0.7, 0.42, shade(piece.colour, 0.3), None)
    pen.poly([(0.2, 0.78), (0.4, 0.42), (0.54, 0.66), (0.64, 0.54), (0.8, 0.78)], shade(piece.accent, -0.1), None)


def _bookshelf(pen: Pen, piece: Piece) -> None:
    x = 0.08
    for number in range(8):
        width, top = (0.07, 0.09, 0.08)[number % 3], (0.12, 0.0, 0.22, 0.08)[number % 4]
        colour = shade(PAINTS[(number * 4 + piece.box[2]) % len(PAINTS)], 0.25)
        pen.rect(x, top, x + width, 0.76, colour, shade(colour, -0.45))
        x += width
    pen.oval(0.78, 0.36, 0.94, 0.76, shade(piece.accent, 0.2), shade(piece.accent, -0.4))
    pen.rect(0, 0.74, 1, 0.88, (172, 138, 106), (116, 90, 70))
    for left in (0.12, 0.82):
        pen.poly([(left, 0.88), (left + 0.06, 0.88), (left + 0.03, 1)], (116, 90, 70), None)


def draw_room(draw: ImageDraw.ImageDraw, room: Room, scale: float) -> None:
    """Draw the room over the whole picture, ``scale`` drawn pixels a base pixel."""
    draw.rectangle((0, 0, WIDTH * scale, room.horizon * scale), room.wall)
    draw.rectangle((0, room.horizon * scale, WIDTH * scale, HEIGHT * scale), room.floor)
    _paper(draw, room, scale)
    _ground(draw, room, scale)
    for piece in room.pieces:
        pen = Pen(draw, piece.box, scale)
        {"window": _window, "picture": _picture, "bookshelf": _bookshelf}[piece.kind](pen, piece)
    if room.rug:
        box, colour = room.rug
        pen, pale = Pen(draw, box, scale), shade(colour, 0.5)
        pen.oval(0, 0, 1, 1, pale, shade(colour, 0.05))
        pen.oval(0.05, 0.07, 0.95, 0.93, None, shade(colour, 0.3))
        pen.oval(0.14, 0.17, 0.86, 0.83, shade(colour, 0.62), shade(colour, 0.3))


def draw_support(draw: ImageDraw.ImageDraw, support: Support, scale: float) -> None:
    """Draw what carries the raised thing of the scene."""
    top, low, left, right = support.box
    wood, dark = support.colour, shade(support.colour, -0.3)
    if support.kind == "swing":
        for x in (left + 2, right - 5):
            Pen(draw, (0, top + 2, x, x + 3), scale).rect(0, 0, 1, 1, (206, 186, 150), (130, 110, 84))
    elif support.kind == "shelf":
        for x in (left + 8, right - 16):
            Pen(draw, (low, low + 8, x, x + 8), scale).poly([(0, 0), (1, 0), (0.6, 1), (0.4, 1)], dark)
    else:
        for x in (left + 11, right - 16):
            Pen(draw, (low, support.floor - 12, x, x + 5), scale).rect(0, 0, 1, 1, dark)
        for x in (left + 2, right - 9):
            foot = (support.floor - 3, support.floor + 3, x - 4, x + 12)
            Pen(draw, foot, scale).oval(0, 0, 1, 1, SHADOW, None)
            Pen(draw, (low, support.floor, x, x + 7), scale).rect(0, 0, 1, 1, wood)
        Pen(draw, (low, low + 7, left + 5, right - 5), scale).rect(0, 0, 1, 1, dark)
    pen = Pen(draw, support.box, scale)
    pen.poly([(0.05, 0), (0.95, 0), (1, 0.5), (0, 0.5)], shade(wood, 0.25))
    pen.rect(0, 0.45, 1, 1, wood, INK)


def draw_shadow(draw: ImageDraw.ImageDraw, box: SceneBox, scale: float) -> None:
    """Draw the soft shadow on which a thing with this box stands."""
    _, ymax, xmin, xmax = box
    reach = (xmax - xmin) // 12
    Pen(draw, (ymax - 6, ymax + 3, xmin - reach, xmax + reach), scale).oval(0, 0, 1, 1, SHADOW, None)
