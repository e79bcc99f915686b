"""Where a pair has several right relations any of them counts, and images, not pairs, are what is resampled."""

import pytest

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import Item, Triple
from vsd_utils.data.vrd import LabelledImage
from vsd_utils.evaluate import several_labels


def triple(subject: str, object_: str) -> Triple:
    return Triple(s=subject, o=object_, p="on", s_bbox=(0, 9, 0, 9), o_bbox=(0, 9, 0, 9))


def image(number: int, *pairs: tuple[Triple, set[str]]) -> LabelledImage:
    item = Item.model_construct(img_id=str(number), triple_list=tuple(one for one, _ in pairs), captions=())
    return LabelledImage(item, tuple(frozenset(labels) for _, labels in pairs), (9, 9))


IMAGES = [
    image(number, (triple("Cat", "dog"), {"on", "above"}), (triple("cat", "owl"), {"under"})) for number in range(20)
]


def test_shares_by_hand() -> None:
    says = {"right": ["above", "under"] * 20, "half": ["on", "on"] * 20}
    table = several_labels.accuracy_table(says, IMAGES, [triple("cat", "dog")], 0).set_index("system")
    seen, unseen = "both names in training", "a name not in training"
    columns = [several_labels.ALL, seen, unseen, "under", "on"]
    assert table.loc["number of pairs", columns].tolist() == ["40", "20", "20", "20", "0"]
    assert table.loc["right", columns].tolist() == ["100.0 [100.0, 100.0]"] * 4 + [""]
    assert table.loc["half", several_labels.ALL] == "50.0 [50.0, 50.0]"
    assert table.loc["half", [seen, unseen]].tolist() == ["100.0 [100.0, 100.0]", "0.0 [0.0, 0.0]"]
    (found,) = several_labels.differences(says, IMAGES, "right", 0)["right - half"].values()
    assert (found.difference, found.low, found.high) == (50.0, 50.0, 50.0)
    assert found.p < 0.01
    with pytest.raises(VsdError, match="right: 1 relations for 40 pairs"):
        several_labels.accuracy_table({"right": ["on"]}, IMAGES, [], 0)
