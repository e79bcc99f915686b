"""Photos and canvases with the two boxes drawn on them.

LLaVA-VSD shows the model which pair is meant by drawing the boxes on the image: the subject's red, the object's green
(figures of ``swordlidev/LLaVA-VSD``). Where there is no photo, the boxes are drawn on an empty canvas.
"""

from collections.abc import Iterable, Mapping, Sequence

from PIL import Image, ImageDraw

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import Triple

SUBJECT_COLOUR = (255, 0, 0)
OBJECT_COLOUR = (0, 200, 0)
CANVAS_COLOUR = (235, 235, 230)


def canvas_size(boxes: Iterable[Sequence[int]], margin: float) -> tuple[int, int]:
    """Width and height in pixels of the smallest canvas from the origin that holds ``boxes``, plus a share ``margin``.

    The annotations do not give the photo's size, so what lies right of and below the boxes is unknown.
    """
    boxes = list(boxes)
    return (
        round(max(box[3] for box in boxes) * (1 + margin)),
        round(max(box[1] for box in boxes) * (1 + margin)),
    )


def empty_canvas(size: tuple[int, int]) -> Image.Image:
    """A plain light image of ``size`` (width, height)."""
    return Image.new("RGB", size, CANVAS_COLOUR)


def named_boxes(triples: Iterable[Triple]) -> dict[str, Sequence[int]]:
    """Boxes of an image's triples by their field in the annotations: ``{"triple_list.0.s_bbox": ...}``."""
    return {
        f"triple_list.{number}.{name}": getattr(triple, name)
        for number, triple in enumerate(triples)
        for name in ("s_bbox", "o_bbox")
    }


def check_boxes(size: tuple[int, int], boxes: Mapping[str, Sequence[int]], where: str) -> None:
    """Raise ``VsdError`` for a box ``[ymin, ymax, xmin, xmax]`` that reaches outside an image of ``size``.

    One pixel of tolerance: some annotation tools count the last pixel, others the edge after it.
    """
    width, height = size
    for name, box in boxes.items():
        if box[1] > height + 1 or box[3] > width + 1:
            raise VsdError(
                f"{where}: {name} {list(box)} reaches outside the image of {width} x {height} pixels; "
                "a box is [ymin, ymax, xmin, xmax]. Is it the photo that was annotated, at its original size?"
            )


def draw_boxes(
    image: Image.Image, subject_bbox: Sequence[int], object_bbox: Sequence[int], width: float
) -> Image.Image:
    """A copy of ``image`` with the subject's box in red and the object's in green.

    ``width`` is the line's, as a share of the image's longer side (at least one pixel). Where the lines meet, the
    subject's lies on top.
    """
    drawn = image.copy()
    draw = ImageDraw.Draw(drawn)
    line = max(1, round(width * max(image.size)))
    for box, colour in ((object_bbox, OBJECT_COLOUR), (subject_bbox, SUBJECT_COLOUR)):
        top, bottom, left, right = box
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
    return drawn


def contact_sheet(images: Sequence[Image.Image], columns: int, height: int = 180, gap: int = 6) -> Image.Image:
    """Lay images out in rows of ``columns``, each scaled to ``height`` pixels, on white.

    An image more than four times as wide as high is scaled to that width instead.
    """
    scaled = []
    for image in images:
        scale = min(height / image.height, 4 * height / image.width)
        scaled.append(image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale)))))
    rows = [scaled[start : start + columns] for start in range(0, len(scaled), columns)]
    width = max(sum(image.width + gap for image in row) - gap for row in rows)
    sheet = Image.new("RGB", (width, len(rows) * (height + gap) - gap), "white")
    for number, row in enumerate(rows):
        left = 0
        for image in row:
            sheet.paste(image, (left, number * (height + gap)))
            left += image.width + gap
    return sheet
