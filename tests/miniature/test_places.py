"""What of its own skill the tiny model keeps: how its answers about places are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsd_utils.miniature.model.language_pretraining import GRID, place_row
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.miniature.places import edges_right

PICTURES = Pictures(None, 0, 0.016, 0.05)


@given(st.integers(0, 10_000))
def test_what_the_model_is_taught_to_say_is_all_right_of_its_own_picture(number: int) -> None:
    picture = PICTURES[number]
    row = place_row(picture, ["cat", "box 7 to 8"], np.random.default_rng(number))
    assert edges_right(row["completion"][0]["content"], picture.boxes) == 1.0


@pytest.mark.parametrize(
    ("answer", "share"),
    [
        ("the cat 2 to 6, 3 to 9; the box 6 to 12, 0 to 4; apart -4 -6 +3 +5.", 1.0),
        ("the cat 3 to 5, 2 to 9; the box 7 to 11, 1 to 4", 1.0),  # each by a cell at most
        ("the cat 4 to 6, 3 to 9; the box 6 to 12, 0 to 4", 7 / 8),
        ("the cat 2 to 6, 3 to 9", 0.5),  # the other is untold
        ("the cat is on the box.", 0.0),
        ("", 0.0),
        ("2 to 6, 3 to 9; 6 to 12, 0 to 4; 6 to 12, 0 to 4", 1.0),
    ],
)
def test_an_edge_is_right_to_within_a_cell_and_wrong_where_it_is_untold(answer: str, share: float) -> None:
    boxes = np.array([[2, 6, 3, 9], [6, 12, 0, 4]], np.float32) / GRID
    assert edges_right(answer, boxes) == pytest.approx(share)
