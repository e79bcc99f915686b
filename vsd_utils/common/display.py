"""What the notebooks show: contact sheets of images, and tables of text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler


def text_table(frame: "pd.DataFrame", name: str, index: bool = False) -> "Styler":
    """Show a table of text: aligned left, line breaks kept, with or without its ``index``.

    Text such as ``<image>`` is shown as it is. ``name`` marks the table in the notebook's HTML in place of a random
    one, so that two runs give the same bytes.
    """
    table = frame.style if index else frame.style.hide(axis="index")
    look: dict[str, Any] = {"text-align": "left", "white-space": "pre-wrap"}
    return table.format(escape="html").set_properties(**look).set_uuid(name)


def contact_sheet(images: Sequence[Image.Image], columns: int, height: int = 180, gap: int = 6) -> Image.Image:
    """Lay images out in rows of ``columns``, each scaled to ``height`` pixels, ``gap`` pixels apart, on white.

    An image more than four times as wide as high is scaled to a width of four times ``height`` instead. Raises
    ``ValueError`` where there is no image.
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
