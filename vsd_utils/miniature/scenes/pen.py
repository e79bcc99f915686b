"""The pen that draws the sample scenes: flat vector shapes in a unit square, (0, 0) at its top left."""

from collections.abc import Sequence
from typing import Final

from PIL import ImageDraw

Colour = tuple[int, ...]  # red, green, blue and, where it is translucent, alpha; 0 to 255
Points = Sequence[tuple[float, float]]
SceneBox = tuple[int, int, int, int]  # ymin, ymax, xmin, xmax in base pixels; the maxima are exclusive

INK: Final = (52, 44, 48)
CREAM: Final = (243, 235, 218)
SHINE: Final = (255, 255, 255, 120)
SHADOW: Final = (40, 28, 30, 60)

# No clear red or green among them: the boxes drawn on top later are red and green.
PAINTS: Final[tuple[Colour, ...]] = (
    (204, 128, 98),
    (118, 144, 168),
    (214, 176, 98),
    (152, 130, 162),
    (128, 158, 148),
    (198, 142, 152),
    (170, 132, 100),
    (222, 204, 172),
    (98, 112, 140),
)


def shade(colour: Colour, amount: float) -> Colour:
    """Mix ``colour`` with black (``amount`` down to -1) or with white (up to 1)."""
    end = 255 if amount > 0 else 0
    part = abs(amount)
    return tuple(int(channel + (end - channel) * part) for channel in colour[:3])


class Pen:
    """Draw unit-square shapes into one box of a picture, mirrored if asked; outlines are one base pixel wide."""

    def __init__(self, draw: ImageDraw.ImageDraw, box: SceneBox, scale: float, mirrored: bool = False) -> None:
        """Take an RGBA-blending ``draw``, a ``box`` in base pixels and ``scale``, drawn pixels for each base pixel."""
        ymin, ymax, xmin, xmax = box
        self.draw = draw
        self.scale = scale
        self.left, self.top = xmin * scale, ymin * scale
        self.width, self.height = (xmax - xmin) * scale - 1, (ymax - ymin) * scale - 1
        self.mirrored = mirrored

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + (1 - x if self.mirrored else x) * self.width, self.top + y * self.height

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        if self.mirrored:
            x0, x1 = 1 - x1, 1 - x0
        return (
            self.left + x0 * self.width,
            self.top + y0 * self.height,
            self.left + x1 * self.width,
            self.top + y1 * self.height,
        )

    def _pixels(self, width: float) -> int:
        return max(1, round(width * self.scale))

    def oval(self, x0: float, y0: float, x1: float, y1: float, fill: Colour | None, line: Colour | None = INK) -> None:
        """Draw an ellipse within (x0, y0) and (x1, y1), its outline inside."""
        self.draw.ellipse(self._box(x0, y0, x1, y1), fill, line, self._pixels(1) if line else 0)

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        fill: Colour | None,
        line: Colour | None = INK,
        radius: float = 0,
    ) -> None:
        """Draw a rectangle, its outline inside and its corners rounded by ``radius`` base pixels."""
        box, width = self._box(x0, y0, x1, y1), self._pixels(1) if line else 0
        if radius and min(box[2] - box[0], box[3] - box[1]) > 2 * radius * self.scale + 1:
            self.draw.rounded_rectangle(box, radius * self.scale, fill, line, width)
        else:
            self.draw.rectangle(box, fill, line, width)

    def poly(self, points: Points, fill: Colour, line: Colour | None = INK) -> None:
        """Draw a polygon with its outline on its edge."""
        corners = [self._at(x, y) for x, y in points]
        self.draw.polygon(corners, fill)
        if line:
            self.draw.line([*corners, corners[0]], line, self._pixels(1))

    def path(self, points: Points, colour: Colour = INK, width: float = 1) -> None:
        """Draw an open line of ``width`` base pixels."""
        self.draw.line([self._at(x, y) for x, y in points], colour, self._pixels(width))

    def arc(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        degrees: tuple[float, float],
        colour: Colour,
        width: float = 1,
    ) -> None:
        """Draw an arc of an ellipse between two ``degrees``, clockwise from three o'clock, ``width`` pixels wide."""
        start, end = degrees
        if self.mirrored:
            start, end = 180 - end, 180 - start
        self.draw.arc(self._box(x0, y0, x1, y1), start, end, colour, self._pixels(width))

    def dots(self, centres: Points, radius: float, fill: Colour) -> None:
        """Draw discs of ``radius`` base pixels."""
        r = radius * self.scale
        for x, y in (self._at(*centre) for centre in centres):
            self.draw.ellipse((x - r, y - r, x + r, y + r), fill)
