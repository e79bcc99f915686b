"""The things that can be the object of a sample scene: each stands, can be stood upon when closed, and holds things.

All are seen from slightly above. The first ``RIM`` of the height shows the opening (or the lid), the rest is the
front. A container is drawn in two parts, so that something may be put in between: the opening, then the front.
"""

from collections.abc import Callable
from typing import Final

from vsd_utils.miniature.scenes.pen import CREAM, INK, PAINTS, SHADOW, SHINE, Colour, Pen, Points, shade

RIM: Final = 0.2
WOODS: Final[tuple[Colour, ...]] = ((186, 144, 102), (160, 118, 86), (204, 168, 122), (138, 104, 82), (196, 152, 118))
METALS: Final[tuple[Colour, ...]] = (
    (158, 166, 172),
    (124, 142, 158),
    (188, 178, 164),
    (148, 138, 148),
    (196, 164, 130),
)
PALES: Final[tuple[Colour, ...]] = ((226, 226, 220), (214, 222, 226), (232, 220, 212), (222, 214, 228), (226, 222, 200))


def _square_opening(pen: Pen, main: Colour, closed: bool, inset: float = 0.09) -> None:
    pen.poly([(inset, 0), (1 - inset, 0), (1, RIM), (0, RIM)], shade(main, 0.28))
    if closed:
        pen.poly([(inset, 0.03), (1 - inset, 0.03), (1 - inset / 2, 0.08), (inset / 2, 0.08)], SHINE, None)
    else:
        pen.poly([(inset + 0.03, 0.04), (0.97 - inset, 0.04), (0.94, RIM), (0.06, RIM)], shade(main, -0.6))


def _round_opening(pen: Pen, main: Colour, closed: bool, left: float = 0) -> None:
    pen.oval(left, 0, 1 - left, 2 * RIM, shade(main, 0.25))
    if closed:
        pen.oval(left + 0.08, 0.04, 0.92 - left, 0.3, shade(main, 0.38), shade(main, -0.1))
    else:
        pen.oval(left + 0.04, 0.035, 0.96 - left, 0.36, shade(main, -0.6))


# The lower half of the opening's ellipse: x from left to right, y as a share of the way from RIM to 2 * RIM.
_CURVE: Final = ((0.0, 0.0), (0.03, 0.36), (0.1, 0.6), (0.22, 0.82), (0.36, 0.95), (0.5, 1.0))
_BOW: Final = (*_CURVE, *((1 - x, y) for x, y in reversed(_CURVE[:-1])))


def _bow(y: float, left: float, right: float, drop: float = RIM) -> Points:
    """List the points of a round container's front edge at height ``y``, sagging by ``drop`` in the middle."""
    return [(left + (right - left) * x, y + drop * sag) for x, sag in _BOW]


def _tub(pen: Pen, main: Colour, left: float, foot: float, sag: float = 0.1) -> None:
    """Draw the front of a round container whose sides run from ``left`` at the opening to ``foot`` at the floor."""
    front = [*_bow(RIM, left, 1 - left), *reversed(_bow(1 - sag, foot, 1 - foot, sag))]
    pen.poly(front, main)


def _box(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0, RIM, 1, 1, main)
    pen.poly([(0.01, RIM), (0.99, RIM), (0.93, 0.36), (0.07, 0.36)], shade(main, 0.2))
    pen.rect(0.44, RIM, 0.56, 0.56, shade(main, 0.45), None)
    pen.rect(0.64, 0.68, 0.92, 0.9, CREAM, shade(main, -0.4))
    pen.path([(0.68, 0.75), (0.84, 0.75)], accent, 1.4)
    pen.path([(0.68, 0.83), (0.88, 0.83)], accent, 1.4)
    for x in (0.1, 0.2):
        pen.path([(x, 0.9), (x, 0.72)], shade(main, -0.4), 1.4)
        pen.path([(x - 0.03, 0.77), (x, 0.7), (x + 0.03, 0.77)], shade(main, -0.4), 1.4)


def _basket(pen: Pen, main: Colour, accent: Colour) -> None:
    _tub(pen, main, 0, 0.1)
    dark, light = shade(main, -0.25), shade(main, 0.25)
    for row in range(5):
        y, inset = 0.35 + 0.12 * row, 0.03 + 0.016 * row
        for step in range(8):
            left = inset + (1 - 2 * inset) * (step + 0.5 * (row % 2)) / 8.5
            sag = 0.1 * (1 - (2 * left + 0.08 - 1) ** 2)
            pen.path([(left, y + sag - 0.06), (left + 0.08, y + sag - 0.06)], dark if step % 2 else light, 2.4)
    pen.path(_bow(RIM, 0.035, 0.965), INK, 5)
    pen.path(_bow(RIM, 0.035, 0.965), accent, 3)
    for left in (0.07, 0.81):
        pen.arc(left, 0.26, left + 0.12, 0.52, (0, 360), INK, 3)


def _crate(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0, RIM, 1, 1, shade(main, -0.6))
    for y in (RIM, 0.48, 0.76):
        pen.rect(0, y, 1, y + 0.24, main)
        pen.path([(0.14, y + 0.08), (0.5, y + 0.07)], shade(main, -0.2), 0.8)
        pen.path([(0.4, y + 0.16), (0.84, y + 0.17)], shade(main, -0.2), 0.8)
    for left in (0, 0.87):
        pen.rect(left, RIM, left + 0.13, 1, shade(main, 0.18))
        pen.dots([(left + 0.065, y) for y in (0.31, 0.59, 0.88)], 1.1, INK)
    pen.rect(0.38, 0.52, 0.62, 0.68, accent, shade(accent, -0.4), radius=2)


def _bucket(pen: Pen, main: Colour, accent: Colour) -> None:
    _tub(pen, main, 0, 0.16, 0.12)
    pen.poly([(0.17, 0.4), (0.25, 0.44), (0.31, 0.9), (0.25, 0.86)], SHINE, None)
    pen.poly([(0.86, 0.4), (0.97, 0.3), (0.83, 0.9), (0.76, 0.93)], SHADOW, None)
    for y, inset in ((0.5, 0.085), (0.74, 0.14)):
        pen.path(_bow(y, inset, 1 - inset, 0.15), accent, 2.6)
    pen.path(_bow(RIM, 0.01, 0.99), shade(main, 0.35), 2)
    pen.arc(0.05, -0.08, 0.95, 0.86, (14, 166), INK, 1.6)
    pen.dots([(0.05, 0.34), (0.95, 0.34)], 2, INK)
    pen.rect(0.41, 0.81, 0.59, 0.89, shade(accent, -0.3))


def _suitcase(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0, RIM, 1, 1, main, radius=3)
    pen.rect(0.03, RIM + 0.03, 0.97, 0.3, shade(main, 0.22), None)
    for left in (0.15, 0.75):
        pen.rect(left, RIM, left + 0.1, 1, shade(accent, -0.1))
        pen.rect(left - 0.01, 0.46, left + 0.11, 0.56, (226, 200, 140))
    for left, right in ((0, 0.12), (1, 0.88)):
        pen.poly([(left, 1), (left, 0.82), (right, 1)], shade(main, -0.4))
    pen.arc(0.36, 0.32, 0.64, 0.66, (180, 360), INK, 3.4)
    pen.oval(0.34, 0.66, 0.52, 0.88, CREAM, shade(main, -0.4))
    pen.poly([(0.54, 0.7), (0.7, 0.66), (0.72, 0.8), (0.56, 0.84)], shade(accent, 0.4), shade(main, -0.4))


def _pot(pen: Pen, main: Colour, accent: Colour) -> None:
    for left in (0, 0.8):
        pen.oval(left, 0.4, left + 0.2, 0.62, accent)
    front = [*_bow(RIM, 0.1, 0.9), (0.91, 0.5), (0.89, 0.76), (0.82, 0.92), (0.72, 1)]
    pen.poly([*front, (0.28, 1), (0.18, 0.92), (0.11, 0.76), (0.09, 0.5)], main)
    pen.path(_bow(RIM, 0.105, 0.895), shade(main, 0.35), 3)
    pen.poly([(0.18, 0.46), (0.26, 0.5), (0.28, 0.8), (0.21, 0.74)], SHINE, None)
    pen.path(_bow(0.62, 0.12, 0.88, 0.14), accent, 3)
    pen.poly([(0.18, 0.92), (0.3, 0.88), (0.7, 0.88), (0.82, 0.92), (0.72, 1), (0.28, 1)], SHADOW, None)


def _wooden_chest(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0, RIM, 1, 1, main)
    pen.rect(0, RIM, 1, 0.36, shade(main, 0.15))
    for y in (0.56, 0.77):
        pen.path([(0, y), (0.99, y)], shade(main, -0.4), 1)
    for left in (0.08, 0.8):
        pen.rect(left, RIM, left + 0.12, 1, (104, 98, 104))
        pen.dots([(left + 0.06, y) for y in (0.29, 0.47, 0.67, 0.9)], 1.2, (206, 196, 180))
    pen.rect(0.41, 0.3, 0.59, 0.58, accent, radius=2)
    pen.dots([(0.5, 0.42)], 2, INK)
    pen.path([(0.5, 0.42), (0.5, 0.52)], INK, 1.6)


def _cart(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0, RIM, 1, 0.74, main)
    pen.rect(0, RIM, 1, 0.3, shade(main, 0.25))
    for x in (0.2, 0.4, 0.6, 0.8):
        pen.path([(x, 0.3), (x, 0.72)], shade(main, -0.4), 1)
    pen.rect(0, 0.68, 1, 0.78, shade(main, -0.3))
    for left in (0.06, 0.62):
        pen.oval(left, 0.52, left + 0.32, 1, INK)
        pen.oval(left + 0.05, 0.59, left + 0.27, 0.93, accent)
        for dx, dy in ((0.1, 0), (0.07, 0.1), (0, 0.15), (-0.07, 0.1)):
            centre = left + 0.16
            pen.path([(centre - dx, 0.76 - dy), (centre + dx, 0.76 + dy)], INK, 1)
        pen.dots([(left + 0.16, 0.76)], 2.2, CREAM)


def _bathtub(pen: Pen, main: Colour, accent: Colour) -> None:
    for x in (0.22, 0.78):
        pen.poly([(x - 0.07, 0.84), (x + 0.07, 0.84), (x + 0.05, 1), (x - 0.05, 1)], (196, 170, 116))
    top = _bow(RIM, 0, 1, 0.12)
    pen.poly([*top, (0.96, 0.56), (0.86, 0.84), (0.74, 0.92), (0.26, 0.92), (0.14, 0.84), (0.04, 0.56)], main)
    pen.poly([(0.1, 0.72), (0.9, 0.72), (0.85, 0.85), (0.74, 0.92), (0.26, 0.92), (0.15, 0.85)], accent, None)
    rim = _bow(RIM, 0.036, 0.964, 0.12)
    pen.path(rim, INK, 6)
    pen.path(rim, shade(main, 0.6), 4)
    pen.poly([(0.13, 0.42), (0.2, 0.44), (0.24, 0.66), (0.17, 0.62)], SHINE, None)


def _drawer(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0, RIM, 1, 1, main)
    pen.rect(0.06, 0.3, 0.94, 0.91, shade(main, -0.16), shade(main, -0.45))
    pen.rect(0.1, 0.36, 0.9, 0.85, shade(main, 0.14), shade(main, -0.45))
    for left in (0.19, 0.69):
        pen.oval(left, 0.53, left + 0.12, 0.7, accent)
        pen.oval(left + 0.02, 0.55, left + 0.06, 0.61, SHINE, None)
    pen.path([(0.4, 0.46), (0.62, 0.45)], shade(main, -0.15), 0.9)
    pen.path([(0.38, 0.74), (0.58, 0.75)], shade(main, -0.15), 0.9)


def _wide(pen: Pen, main: Colour, closed: bool) -> None:
    """Draw a bathtub's opening, with a bathing board across when it is closed."""
    pen.oval(0, 0, 1, 0.36, shade(main, 0.4))
    pen.oval(0.04, 0.03, 0.96, 0.33, (168, 190, 198))
    if closed:
        pen.poly([(0.1, 0.02), (0.9, 0.02), (0.95, 0.22), (0.05, 0.22)], (192, 154, 112))
        pen.path([(0.08, 0.12), (0.92, 0.12)], (140, 108, 80), 0.8)


Opening = Callable[[Pen, Colour, bool], None]
Front = Callable[[Pen, Colour, Colour], None]

OBJECTS: Final[dict[str, tuple[Opening, Front, tuple[Colour, ...]]]] = {
    "basket": (_round_opening, _basket, WOODS),
    "bathtub": (_wide, _bathtub, PALES),
    "box": (_square_opening, _box, ((198, 162, 120), (184, 146, 108), (212, 182, 142), (174, 160, 140))),
    "bucket": (_round_opening, _bucket, METALS),
    "cart": (_square_opening, _cart, PAINTS),
    "crate": (_square_opening, _crate, WOODS),
    "drawer": (_square_opening, _drawer, (*WOODS, *PALES)),
    "pot": (lambda pen, main, closed: _round_opening(pen, main, closed, 0.1), _pot, (*METALS, *PAINTS)),
    "suitcase": (_square_opening, _suitcase, PAINTS),
    "wooden chest": (_square_opening, _wooden_chest, WOODS),
}
