"""The table of scenes with a cue changed: what several trainings of one model make of it."""

import numpy as np
import pytest

from vsd_utils.data.annotations import Item, Triple
from vsd_utils.studies.shortcuts import table

SCENES = 10


def scene(number: int, relation: str) -> Item:
    boxes = {"s_bbox": (0, 9, 0, 9), "o_bbox": (20, 29, 0, 9)}
    triple = Triple.model_validate({"s": "cup", "o": "box", "p": relation, **boxes})
    return Item.model_validate({"img_id": f"{number}.png", "triple_list": [triple], "captions": ["cup on the box"]})


def test_accuracies_are_means_over_trainings_and_their_spread_is_that_of_numpy() -> None:
    items = {number: scene(number, "behind") for number in range(SCENES)}
    sets = {"as drawn": items, "height": items}
    hidden = {cue: dict.fromkeys(items, 0.0) for cue in sets}
    right = ((10, 5), (8, 1), (6, 0))  # of each training: scenes named right as drawn, and changed

    def training(as_drawn: int, changed: int) -> dict[tuple[str, int], str]:
        named = {("as drawn", n): "behind" if n < as_drawn else "on" for n in items}
        return named | {("height", n): "behind" if n < changed else "under" for n in items}

    rows = table(sets, hidden, "as drawn", {"lora": [training(*one) for one in right]}, seed=0)
    row = rows.iloc[0]
    for column, counts in (("+ LoRA, as drawn", (10, 8, 6)), ("+ LoRA, changed", (5, 1, 0))):
        shares = 10 * np.array(counts)
        assert row[column].startswith(f"{shares.mean():.1f} [")
        assert row[column].endswith(f"± {shares.std(ddof=1):.1f}")
    assert row["+ LoRA, difference"].startswith("-60.0 [")
    assert row["+ LoRA, changed: named instead"] == "under 80 %"
    alone = table(sets, hidden, "as drawn", {"lora": [training(*right[0])]}, seed=0).iloc[0]
    assert "±" not in alone["+ LoRA, changed"]
    assert float(alone["+ LoRA, changed"].split()[0]) == pytest.approx(50)
