"""The two boxes of a pair, drawn on a photo or on an empty canvas.

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
    """Compute width and height in pixels of the smallest canvas from the origin that holds ``boxes`` and a margin.

    ``boxes`` are [ymin, ymax, xmin, xmax] in pixels, at least one; ``margin`` is a share (0 to 1) of the width and the
    height. The annotations do not give the photo's size, so what lies right of and below the boxes is unknown.
    """
    boxes = list(boxes)
    return (
        round(max(xmax for _, _, _, xmax in boxes) * (1 + margin)),
        round(max(ymax for _, ymax, _, _ in boxes) * (1 + margin)),
    )


def empty_canvas(size: tuple[int, int]) -> Image.Image:
    """Make a plain light RGB image of ``size`` (width, height) in pixels."""
    return Image.new("RGB", size, CANVAS_COLOUR)


def named_boxes(triples: Iterable[Triple]) -> dict[str, Sequence[int]]:
    """Map the boxes of an image's triples by their field in the annotations: ``{"triple_list.0.s_bbox": ...}``."""
    return {
        f"triple_list.{number}.{name}": getattr(triple, name)
        for number, triple in enumerate(triples)
        for name in ("s_bbox", "o_bbox")
    }


def check_boxes(size: tuple[int, int], boxes: Mapping[str, Sequence[int]], where: str) -> None:
    """Raise ``VsdError`` for a box ``[ymin, ymax, xmin, xmax]`` that reaches outside an image of ``size``.

    ``size`` is (width, height) in pixels, ``boxes`` are named by their field, ``where`` names file and image. One pixel
    of tolerance: some annotation tools count the last pixel, others the edge after it.
    """
    width, height = size
    for name, box in boxes.items():
        _, ymax, _, xmax = box
        if ymax > height + 1 or xmax > width + 1:
            raise VsdError(
                f"{where}: {name} {list(box)} reaches outside the image of {width} x {height} pixels; "
                "a box is [ymin, ymax, xmin, xmax]. Is it the photo that was annotated, at its original size?"
            )


def draw_boxes(
    image: Image.Image, subject_bbox: Sequence[int], object_bbox: Sequence[int], width: float
) -> Image.Image:
    """Copy ``image`` and draw the subject's box on it in red and the object's in green.

    Boxes are [ymin, ymax, xmin, xmax] in pixels, maxima exclusive. ``width`` is the line's, as a share of the image's
    longer side (at least one pixel). Where the lines meet, the subject's lies on top.
    """
    with_boxes = image.copy()
    draw = ImageDraw.Draw(with_boxes)
    line = max(1, round(width * max(image.size)))
    for box, colour in ((object_bbox, OBJECT_COLOUR), (subject_bbox, SUBJECT_COLOUR)):
        top, bottom, left, right = box
        # Pillow's corners are inclusive, the annotations' maxima are not.
        draw.rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=colour, width=line)
    return with_boxes
