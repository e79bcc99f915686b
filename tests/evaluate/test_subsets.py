"""Hard scenes are told from annotations alone, and every pair is counted where it belongs."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import Item, load_items
from vsd_utils.data.subsets import SUBSETS, subsets_of
from vsd_utils.evaluate import subset_scores
from vsd_utils.evaluate.scores import Evaluation
from vsd_utils.metrics.measure import Measure
from vsd_utils.metrics.relation_checker import statement

Box = list[int]


def item(*pairs: tuple[Box, Box, str], captions: tuple[str, ...] = ("a cat",)) -> Item:
    triples = [{"s": "cat", "o": "dog", "p": p, "s_bbox": s, "o_bbox": o} for s, o, p in pairs]
    return Item.model_validate({"img_id": "1", "triple_list": triples, "captions": captions})


def of(*pairs: tuple[Box, Box, str], size: tuple[int, int] | None = None, captions: tuple[str, ...] = ("a",)) -> set:
    it = item(*pairs, captions=captions)
    read = lambda text, s, o: statement(text, s, o).relations  # noqa: E731
    return set(subsets_of(it, it.triple_list[0], size, read)) - {"all"}


FAR = ([10, 60, 10, 60], [110, 160, 110, 160], "on")


@pytest.mark.parametrize(
    ("pairs", "options", "expected"),
    [
        ([FAR], {}, {"apart"}),
        ([([10, 60, 10, 60], [10, 60, 60, 110], "on")], {}, {"apart"}),  # they touch, and share no pixel
        ([([10, 60, 10, 60], [30, 80, 30, 80], "on")], {}, {"overlapping"}),
        ([([10, 60, 10, 60], [5, 100, 5, 100], "in")], {}, {"contained"}),
        ([([10, 60, 10, 60], [5, 54, 5, 100], "in")], {}, {"overlapping"}),  # 44 of 50 lines
        ([([10, 60, 10, 60], [5, 55, 5, 100], "in")], {}, {"contained"}),  # 45 of 50
        ([([0, 60, 10, 60], FAR[1], "on")], {}, {"apart", "cut"}),
        ([FAR], {"size": (160, 200)}, {"apart", "cut"}),
        ([FAR], {"size": (161, 161)}, {"apart"}),
        ([([10, 41, 10, 43], FAR[1], "on")], {}, {"apart", "small"}),  # 31 x 33 = 1023
        ([([10, 42, 10, 42], FAR[1], "on")], {}, {"apart"}),  # 32 x 32
        ([FAR, (FAR[0], FAR[1], "above")], {}, {"apart", "two labels"}),
        ([FAR, (FAR[1], FAR[0], "under")], {}, {"apart"}),  # the same two, seen from the other
        ([FAR, (FAR[0], [200, 250, 200, 250], "on")], {}, {"apart", "crowded"}),
        ([FAR], {"captions": ("a cat is on a dog", "a cat is under a dog")}, {"apart", "people disagree"}),
        ([FAR], {"captions": ("a cat is on a dog", "a cat sits on a dog", "cats")}, {"apart"}),
    ],
)
def test_a_pair_by_hand(pairs, options, expected) -> None:
    assert of(*pairs, **options) == expected


boxes = st.tuples(*[st.integers(0, 50)] * 2, *[st.integers(1, 50)] * 2).map(
    lambda b: [b[0], b[0] + b[2], b[1], b[1] + b[3]]
)


@given(boxes, boxes)
def test_every_pair_of_boxes_is_apart_or_overlapping_or_contained_and_roles_do_not_matter(first, second) -> None:
    found = of((first, second, "on"))
    assert len(found & {"apart", "overlapping", "contained"}) == 1
    assert found == of((second, first, "on"))


def test_the_regressions_see_other_images_only_and_all_pairs_are_counted(real_vsd: Path) -> None:
    items = load_items(annotation_file(1, "val", real_vsd))[:400]
    pairs = sum(len(one.triple_list) for one in items)
    table = subset_scores.annotation_table(items, 0).set_index("subset")
    assert list(table.index) == list(SUBSETS)
    count = {name: int(table.loc[name, "pairs"].replace(",", "")) for name in SUBSETS}
    assert count["all"] == pairs == count["apart"] + count["overlapping"] + count["contained"]
    assert 10 < float(table.loc["all", "majority"].split()[0]) < 25
    assert float(table.loc["all", "boxes_and_names_regression"].split()[0]) > 30
    # Were an image's own pair among what is fitted, names that occur once would be known.
    assert float(table.loc["all", "names_regression"].split()[0]) < 60
    assert all(re.fullmatch(r"|[\d.]+ \[[\d.]+, [\d.]+\]", cell) for cell in table["majority"])
    right = subset_scores._regressed(items, 0)["majority"]
    assert np.isclose(float(table.loc["all", "majority"].split()[0]), 100 * right.mean(), atol=0.05)


def test_how_sure_a_system_is_stands_beside_how_often_it_is_right() -> None:
    items = [item(FAR).model_copy(update={"img_id": str(number)}) for number in range(25)]
    rows = [
        {"task": 1, "img_id": str(number), "probabilities": {"on": 0.25 + 0.02 * (number % 2), "in": 0.1}}
        for number in range(25)
    ]
    sure = subset_scores.confidences([*rows, {"task": 2, "img_id": "0"}, rows[0] | {"probabilities": {"on": 1.0}}])
    assert sure["0"] == 0.25  # of the image's first pair
    assert subset_scores.confidences([{"task": 1, "img_id": "0"}]) == {}
    right = Measure(np.array([[float(number < 10), 1.0] for number in range(25)]), lambda s: 100 * s[:, 0] / s[:, 1])
    answered = Evaluation({}, [], {"task1.accuracy": right}, tuple(one.img_id for one in items))
    table = subset_scores.system_table({"lora": answered}, items, 0, confidence={"lora": sure}).set_index("subset")
    assert table.loc["apart", "task1.accuracy"].startswith("40.0 [")
    assert table.loc["apart", "confidence"].startswith("26.0 [")  # 13 times 0.25 and 12 times 0.27
    assert table.loc["overlapping", "confidence"] == ""
