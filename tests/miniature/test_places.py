"""What of its own skill the tiny model keeps: how its answers about places are read."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model
from tiny_model import write_base

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import write_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.finetune.recipe import lora_config
from vsd_utils.miniature import places
from vsd_utils.miniature.model.language_pretraining import GRID, place_row
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.miniature.places import edges_right, tell_places
from vsd_utils.models import vision_language

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


def test_an_adapter_that_changes_nothing_has_kept_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ASKED", 6)
    base = write_base(tmp_path / "models" / "base")
    triple = {"s": "cat", "o": "box", "p": "on", "s_bbox": [1, 5, 1, 5], "o_bbox": [5, 9, 1, 9]}
    annotations = annotation_file(1, "train", tmp_path / "data" / "annotations")
    annotations.parent.mkdir(parents=True)
    write_json(annotations, [{"img_id": "1.jpg", "triple_list": [triple], "captions": ["cat on box."]}])
    params = Params.model_validate(compose(["profile=smoke"]))
    model = get_peft_model(vision_language.load_model("float32", base=base), lora_config(r=2))
    model.save_pretrained(tmp_path / "models" / "adapter", save_embedding_layers=False)
    answers: list[list[str]] = []
    real = places.generate
    monkeypatch.setattr(places, "generate", lambda *given: answers.append(real(*given)) or answers[-1])
    found = tell_places(tmp_path, params)
    assert found["base"] == found["lora"]
    assert answers[0] == answers[1]
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_()
    model.save_pretrained(tmp_path / "models" / "adapter", save_embedding_layers=False)
    answers.clear()
    tell_places(tmp_path, params)
    assert answers[0] != answers[1]
    with pytest.raises(VsdError, match="only the tiny base model"):
        tell_places(tmp_path, Params.model_validate(compose(["profile=boxes"])))
