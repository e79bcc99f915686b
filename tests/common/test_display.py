"""What a notebook shows is all of it, in order, and the same bytes from two runs."""

import pandas as pd
import pytest
from PIL import Image

from vsd_utils.common.display import contact_sheet, text_table


def test_a_contact_sheet_shows_every_image_in_order() -> None:
    colours = ["red", "green", "blue", "black", "orange"]
    sheet = contact_sheet([Image.new("RGB", (80, 40), colour) for colour in colours], columns=3, height=20, gap=10)
    assert sheet.size == (3 * 40 + 2 * 10, 2 * 20 + 10)
    centres = [(20 + 50 * (number % 3), 10 + 30 * (number // 3)) for number in range(6)]
    found = [sheet.getpixel(centre) for centre in centres]
    expected = [Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in [*colours, "white"]]
    assert found == expected


@pytest.mark.parametrize("size", [(1, 1), (6000, 1), (1, 6000), (2, 3)])
def test_a_contact_sheet_stays_narrow_whatever_the_shapes(size) -> None:
    sheet = contact_sheet([Image.new("RGB", size)] * 3, columns=2, height=60, gap=6)
    assert sheet.height == 126
    assert sheet.width <= 2 * 240 + 6


def test_a_table_shows_its_text_as_it_is_and_has_the_same_bytes_twice() -> None:
    frame = pd.DataFrame({"question": ["<image>\nWhere?"]}, index=["row-name"])
    page = text_table(frame, "questions").to_html()
    assert "&lt;image&gt;\nWhere?" in page
    assert "pre-wrap" in page
    assert "row-name" not in page
    assert "row-name" in text_table(frame, "questions", index=True).to_html()
    assert text_table(frame.copy(), "questions").to_html() == page
