"""The small things that can be the subject of a sample scene, and the colours that each comes in.

Every drawing fills its whole box (it touches all four sides) and every kind is drawn in boxes of the same sizes, so
that neither the size nor the place of a box tells what is in it.
"""

from collections.abc import Callable
from typing import Final

from vsd_utils.miniature.scenes.pen import CREAM, INK, PAINTS, SHADOW, SHINE, Colour, Pen, shade


def _ball(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.oval(0, 0, 1, 1, main)
    pen.oval(0.24, 0, 0.76, 1, accent)
    pen.oval(0.42, 0, 0.58, 1, CREAM)
    pen.oval(0, 0, 1, 1, None)
    pen.oval(0.12, 0.14, 0.34, 0.36, SHINE, None)
    pen.arc(0.04, 0.04, 0.96, 0.96, (20, 110), SHADOW, 4)


def _cat(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.arc(0.52, 0.42, 1, 1, (-70, 150), shade(main, -0.25), 4.5)
    pen.oval(0, 0.42, 0.84, 1, main)
    pen.oval(0.24, 0.56, 0.6, 1, shade(main, 0.35), None)
    for left in (0.06, 0.5):
        pen.poly([(left, 0.34), (left + 0.06, 0), (left + 0.28, 0.2)], main)
        pen.poly([(left + 0.06, 0.24), (left + 0.09, 0.09), (left + 0.18, 0.19)], shade(accent, 0.4), None)
    pen.oval(0.03, 0.13, 0.81, 0.67, main)
    for x in (0.36, 0.42, 0.48):
        pen.path([(x, 0.15), (x, 0.24)], shade(main, -0.35), 1.4)
    pen.dots([(0.26, 0.36), (0.58, 0.36)], 1.9, INK)
    pen.poly([(0.38, 0.46), (0.46, 0.46), (0.42, 0.52)], (196, 120, 120), None)
    pen.path([(0.33, 0.55), (0.38, 0.58), (0.42, 0.54), (0.46, 0.58), (0.51, 0.55)])
    for side in (0.2, 0.64):
        pen.path([(side - 0.12, 0.48), (side + 0.1, 0.5)], shade(main, -0.45), 0.6)
        pen.path([(side - 0.1, 0.56), (side + 0.08, 0.54)], shade(main, -0.45), 0.6)
    for left in (0.2, 0.44):
        pen.oval(left, 0.86, left + 0.22, 1, shade(main, 0.2))


def _book(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.poly([(0.14, 0), (1, 0.03), (1, 0.93), (0.84, 1), (0.84, 0.1)], CREAM)
    for x in (0.89, 0.94):
        pen.path([(x, 0.08), (x, 0.94)], shade(CREAM, -0.25), 0.6)
    pen.poly([(0, 0.08), (0.14, 0), (1, 0.02), (0.84, 0.1)], shade(main, -0.3))
    pen.rect(0, 0.08, 0.84, 1, main)
    pen.rect(0.02, 0.1, 0.15, 0.98, shade(main, -0.25), None)
    pen.rect(0.27, 0.22, 0.74, 0.46, CREAM, shade(main, -0.4))
    pen.rect(0.35, 0.29, 0.66, 0.33, INK, None)
    pen.rect(0.4, 0.38, 0.61, 0.4, INK, None)
    pen.oval(0.38, 0.56, 0.64, 0.84, accent, shade(main, -0.4))
    pen.rect(0.02, 0.84, 0.15, 0.9, accent, None)


def _mug(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.oval(0.5, 0.24, 1, 0.8, shade(main, -0.1))
    pen.oval(0.6, 0.36, 0.88, 0.68, (120, 108, 104, 200))
    pen.poly([(0, 0.1), (0.78, 0.1), (0.75, 0.9), (0.66, 1), (0.12, 1), (0.03, 0.9)], main)
    pen.poly([(0.02, 0.46), (0.77, 0.46), (0.765, 0.66), (0.025, 0.66)], accent, None)
    pen.dots([(0.16, 0.56), (0.39, 0.56), (0.62, 0.56)], 1.6, CREAM)
    pen.oval(0, 0, 0.78, 0.2, shade(main, 0.3))
    pen.oval(0.07, 0.04, 0.71, 0.17, (92, 66, 56), None)
    pen.rect(0.08, 0.24, 0.15, 0.86, SHINE, None)


def _apple(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.oval(0.3, 0.18, 1, 0.98, main)
    pen.oval(0, 0.18, 0.7, 0.98, main)
    pen.oval(0.14, 0.22, 0.86, 1, main, None)
    pen.arc(0.22, 0.3, 0.78, 1, (55, 125), INK, 1)
    pen.arc(0.3, 0.04, 0.7, 0.36, (30, 150), shade(main, -0.45), 1.4)
    pen.path([(0.5, 0.3), (0.5, 0.14), (0.44, 0)], (96, 70, 52), 2.2)
    pen.poly([(0.5, 0.18), (0.62, 0.04), (0.84, 0.03), (0.72, 0.18)], (126, 148, 92))
    pen.oval(0.1, 0.32, 0.3, 0.6, SHINE, None)
    pen.dots([(0.66, 0.62), (0.54, 0.78), (0.76, 0.76)], 0.8, shade(accent, 0.4))


def _teddy_bear(pen: Pen, main: Colour, accent: Colour) -> None:
    light = shade(main, 0.4)
    for left in (0.1, 0.64):
        pen.oval(left, 0, left + 0.26, 0.26, main)
        pen.oval(left + 0.06, 0.06, left + 0.2, 0.2, light, None)
    pen.oval(0, 0.5, 0.3, 0.8, main)
    pen.oval(0.7, 0.5, 1, 0.8, main)
    pen.oval(0.16, 0.44, 0.84, 1, main)
    pen.oval(0.3, 0.56, 0.7, 0.94, light, None)
    for left in (0.04, 0.62):
        pen.oval(left, 0.76, left + 0.34, 1, main)
        pen.oval(left + 0.09, 0.82, left + 0.25, 0.95, light, None)
    pen.oval(0.12, 0.06, 0.88, 0.6, main)
    pen.oval(0.34, 0.32, 0.66, 0.56, light, None)
    pen.dots([(0.34, 0.28), (0.66, 0.28)], 1.8, INK)
    pen.oval(0.44, 0.34, 0.56, 0.42, INK, None)
    pen.arc(0.42, 0.36, 0.58, 0.5, (20, 160), INK)
    pen.poly([(0.32, 0.56), (0.5, 0.61), (0.68, 0.56), (0.68, 0.7), (0.5, 0.64), (0.32, 0.7)], accent)


def _lamp(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.oval(0.16, 0.84, 0.84, 1, accent)
    pen.rect(0.44, 0.54, 0.56, 0.9, shade(accent, -0.15))
    pen.oval(0.34, 0.62, 0.66, 0.86, accent)
    pen.oval(0.4, 0.66, 0.48, 0.76, SHINE, None)
    pen.poly([(0.24, 0), (0.76, 0), (1, 0.6), (0, 0.6)], main)
    pen.poly([(0.36, 0.03), (0.5, 0.03), (0.44, 0.57), (0.16, 0.57)], (255, 246, 206, 130), None)
    pen.poly([(0.03, 0.52), (0.97, 0.52), (1, 0.6), (0, 0.6)], shade(main, -0.28))
    pen.path([(0.82, 0.6), (0.82, 0.74)], INK, 0.8)
    pen.dots([(0.82, 0.75)], 1.3, shade(accent, 0.3))


def _alarm_clock(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.path([(0.3, 0.85), (0.18, 1)], INK, 3)
    pen.path([(0.7, 0.85), (0.82, 1)], INK, 3)
    pen.rect(0.44, 0, 0.56, 0.24, shade(accent, -0.2))
    pen.oval(0.06, 0.03, 0.44, 0.36, accent)
    pen.oval(0.56, 0.03, 0.94, 0.36, accent)
    pen.oval(0, 0.12, 1, 0.98, main)
    pen.oval(0.13, 0.23, 0.87, 0.87, CREAM)
    pen.dots([(0.5, 0.3), (0.79, 0.55), (0.5, 0.8), (0.21, 0.55)], 1.1, INK)
    pen.path([(0.5, 0.36), (0.5, 0.55), (0.67, 0.64)], INK, 1.8)
    pen.dots([(0.5, 0.55)], 1.5, accent)
    pen.arc(0.05, 0.17, 0.95, 0.93, (190, 240), SHINE, 2)


def _toy_car(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.poly([(0.17, 0.46), (0.29, 0.04), (0.35, 0), (0.68, 0), (0.74, 0.04), (0.88, 0.46)], main)
    pen.poly([(0.26, 0.42), (0.34, 0.1), (0.48, 0.1), (0.48, 0.42)], (196, 214, 220))
    pen.poly([(0.55, 0.42), (0.55, 0.1), (0.67, 0.1), (0.77, 0.42)], (196, 214, 220))
    pen.path([(0.3, 0.38), (0.38, 0.14)], SHINE, 2)
    pen.rect(0, 0.42, 1, 0.84, main, radius=4)
    pen.rect(0.02, 0.58, 0.98, 0.67, accent, None)
    pen.rect(0.9, 0.47, 0.99, 0.57, (246, 226, 150))
    pen.rect(0.56, 0.5, 0.66, 0.54, INK, None)
    pen.path([(0.06, 0.46), (0.86, 0.46)], SHINE, 1.2)
    for left in (0.1, 0.6):
        pen.oval(left, 0.64, left + 0.32, 1, INK)
        pen.oval(left + 0.09, 0.74, left + 0.23, 0.9, CREAM, None)


def _hat(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.oval(0, 0.64, 1, 1, shade(main, -0.18))
    pen.oval(0.05, 0.65, 0.95, 0.94, main, None)
    pen.poly([(0.17, 0.82), (0.25, 0.1), (0.34, 0.02), (0.66, 0.02), (0.75, 0.1), (0.83, 0.82)], main)
    pen.oval(0.26, 0, 0.74, 0.14, shade(main, 0.22))
    pen.oval(0.17, 0.74, 0.83, 0.9, main, None)
    pen.poly([(0.185, 0.62), (0.815, 0.62), (0.83, 0.82), (0.5, 0.89), (0.17, 0.82)], accent)
    pen.oval(0.66, 0.64, 0.77, 0.78, CREAM)
    pen.path([(0.3, 0.16), (0.26, 0.56)], SHINE, 3)


def _boot(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.poly([(0.05, 0.04), (0.6, 0.04), (0.58, 0.48), (0.9, 0.58), (1, 0.74), (1, 0.9), (0, 0.9)], main)
    pen.rect(0, 0.87, 1, 0.95, shade(main, -0.45))
    pen.rect(0, 0.87, 0.34, 1, shade(main, -0.5))
    pen.rect(0.5, 0.87, 1, 1, shade(main, -0.5))
    pen.rect(0.02, 0, 0.64, 0.16, accent, radius=2)
    pen.poly([(0.66, 0.88), (0.72, 0.68), (0.88, 0.62), (0.98, 0.74), (0.98, 0.88)], shade(main, -0.2), None)
    for y in (0.24, 0.35, 0.46):
        pen.path([(0.36, y + 0.03), (0.58, y)], CREAM, 1.6)
    pen.path([(0.13, 0.22), (0.12, 0.78)], SHINE, 3)


def _duck(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.poly([(0, 0.44), (0.26, 0.6), (0.14, 0.82)], main)
    pen.oval(0.02, 0.46, 0.92, 1, main)
    pen.poly([(0.78, 0.24), (1, 0.31), (0.98, 0.39), (0.78, 0.42)], (226, 150, 78))
    pen.path([(0.82, 0.34), (0.97, 0.35)], INK, 0.7)
    pen.oval(0.38, 0, 0.88, 0.58, main)
    pen.oval(0.36, 0.5, 0.8, 0.72, main, None)
    pen.oval(0.16, 0.6, 0.58, 0.86, shade(main, -0.15))
    pen.arc(0.2, 0.62, 0.56, 0.8, (30, 130), shade(main, -0.4))
    pen.dots([(0.7, 0.2)], 2.3, CREAM)
    pen.dots([(0.71, 0.2)], 1.5, INK)
    pen.poly([(0.44, 0.5), (0.82, 0.5), (0.8, 0.6), (0.46, 0.6)], accent)
    pen.oval(0.46, 0.06, 0.6, 0.18, SHINE, None)


def _plant(pen: Pen, main: Colour, accent: Colour) -> None:
    leaf, pale = (104, 132, 92), (136, 160, 110)
    pen.poly([(0.5, 0.62), (0, 0.48), (0.02, 0.2), (0.26, 0.3)], leaf)
    pen.poly([(0.5, 0.62), (1, 0.48), (0.98, 0.2), (0.74, 0.3)], leaf)
    pen.poly([(0.48, 0.62), (0.2, 0.3), (0.22, 0.04), (0.42, 0.22)], pale)
    pen.poly([(0.52, 0.62), (0.8, 0.3), (0.78, 0.04), (0.58, 0.22)], pale)
    pen.poly([(0.5, 0.66), (0.36, 0.28), (0.5, 0), (0.64, 0.28)], leaf)
    for tip in ((0.08, 0.34), (0.92, 0.34), (0.28, 0.2), (0.72, 0.2), (0.5, 0.14)):
        pen.path([(0.5, 0.62), tip], shade(leaf, -0.35), 0.7)
    pen.poly([(0.2, 0.66), (0.8, 0.66), (0.7, 1), (0.3, 1)], main)
    pen.poly([(0.24, 0.78), (0.76, 0.78), (0.74, 0.87), (0.26, 0.87)], accent, None)
    pen.rect(0.14, 0.58, 0.86, 0.7, shade(main, 0.15))
    pen.path([(0.32, 0.74), (0.37, 0.95)], SHINE, 2.4)


def _vase(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0.28, 0.88, 0.72, 1, shade(main, -0.25))
    pen.poly([(0.32, 0.06), (0.68, 0.06), (0.64, 0.36), (0.36, 0.36)], main)
    pen.oval(0, 0.26, 1, 0.96, main)
    pen.poly([(0.35, 0.2), (0.65, 0.2), (0.66, 0.36), (0.34, 0.36)], main, None)
    pen.oval(0.24, 0, 0.76, 0.14, shade(main, 0.3))
    pen.oval(0.31, 0.03, 0.69, 0.11, shade(main, -0.55), None)
    pen.poly([(0.015, 0.54), (0.985, 0.54), (0.985, 0.68), (0.015, 0.68)], accent, None)
    pen.path(
        [(0.04, 0.64), (0.2, 0.57), (0.35, 0.65), (0.5, 0.57), (0.65, 0.65), (0.8, 0.57), (0.96, 0.64)], CREAM, 1.6
    )
    pen.oval(0.12, 0.34, 0.28, 0.5, SHINE, None)


def _teapot(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.arc(0.6, 0.3, 1, 0.84, (-120, 120), INK, 6)
    pen.arc(0.62, 0.325, 0.98, 0.815, (-120, 120), shade(main, -0.15), 4)
    pen.poly([(0.28, 0.52), (0.13, 0.28), (0, 0.3), (0.1, 0.5), (0.26, 0.86)], shade(main, -0.12))
    pen.oval(0.14, 0.24, 0.84, 1, main)
    pen.oval(0.26, 0.16, 0.72, 0.38, shade(main, 0.2))
    pen.oval(0.41, 0, 0.57, 0.18, accent)
    for x, y in ((0.49, 0.52), (0.41, 0.64), (0.57, 0.64), (0.44, 0.77), (0.54, 0.77)):
        pen.dots([(x, y)], 2.4, accent)
    pen.dots([(0.49, 0.66)], 2, CREAM)
    pen.oval(0.22, 0.38, 0.33, 0.58, SHINE, None)


def _camera(pen: Pen, main: Colour, accent: Colour) -> None:
    pen.rect(0.08, 0.08, 0.26, 0.26, accent)
    pen.poly([(0.32, 0.22), (0.4, 0), (0.68, 0), (0.76, 0.22)], shade(main, -0.2))
    pen.rect(0, 0.18, 1, 1, main, radius=4)
    pen.rect(0.015, 0.42, 0.985, 0.82, (70, 64, 70), None)
    pen.oval(0.22, 0.28, 0.82, 0.94, CREAM)
    pen.oval(0.3, 0.37, 0.74, 0.85, (60, 66, 78))
    pen.oval(0.4, 0.48, 0.64, 0.74, (116, 138, 156), None)
    pen.oval(0.42, 0.46, 0.52, 0.57, SHINE, None)
    pen.rect(0.84, 0.25, 0.94, 0.35, (246, 226, 170))
    pen.path([(0.06, 0.26), (0.24, 0.26)], SHINE, 1.6)


Drawing = Callable[[Pen, Colour, Colour], None]

SUBJECTS: Final[dict[str, tuple[Drawing, tuple[Colour, ...]]]] = {
    "alarm clock": (_alarm_clock, PAINTS),
    "apple": (_apple, ((188, 92, 82), (206, 132, 96), (160, 170, 98), (212, 178, 96))),
    "ball": (_ball, PAINTS),
    "book": (_book, PAINTS),
    "boot": (_boot, PAINTS),
    "camera": (_camera, PAINTS),
    "cat": (_cat, ((172, 130, 96), (206, 150, 98), (140, 134, 138), (98, 92, 98), (226, 208, 180))),
    "duck": (_duck, ((230, 194, 98), (226, 206, 130), (238, 224, 190), (150, 172, 190), (216, 158, 168))),
    "hat": (_hat, PAINTS),
    "lamp": (_lamp, PAINTS),
    "mug": (_mug, PAINTS),
    "plant": (_plant, PAINTS),
    "teapot": (_teapot, PAINTS),
    "teddy bear": (_teddy_bear, ((176, 132, 94), (200, 162, 116), (138, 104, 84), (214, 190, 160))),
    "toy car": (_toy_car, PAINTS),
    "vase": (_vase, PAINTS),
}
