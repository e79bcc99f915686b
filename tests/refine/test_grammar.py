"""Rewrites by grammar keep both names and the relation, whatever it is, and need nobody to be asked."""

import pytest

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.refine.grammar import rewrites
from vsd_utils.refine.local_model import Settings
from vsd_utils.refine.rewriting import refine
from vsd_utils.refine.selection import rejection

SETTINGS = Settings(
    prompt="grammar",
    candidates=1,
    temperature=1.0,
    top_p=1.0,
    max_new_tokens=1,
    batch_size=2,
    ask_hopeless=False,
    seed=0,
)


def row(label: str, subject: str = "street lights", object_: str = "old box") -> dict:
    sentences = [f"the {subject} are {label} the {object_}{ending}" for ending in (".", " now.", " here.")]
    return {"id": label, "task": 3, "subject": subject, "object": object_, "label": label, "sentences": sentences}


@pytest.mark.parametrize("label", RELATIONS)
def test_every_form_may_replace_a_sentence(label) -> None:
    found = rewrites(row(label))
    assert len(set(found)) == len(found) == (2 if label == "in" else 4)
    assert {text: rejection(text, row(label)) for text in found} == dict.fromkeys(found)
    assert rewrites(row("no idea")) == []


def test_no_model_is_asked(tmp_path) -> None:
    rows = [row(label) for label in RELATIONS]
    refined = refine(rows, {one["id"] for one in rows}, None, None, SETTINGS, tmp_path / "rows.jsonl")
    assert {one["reason"] for one in refined} == {"accepted"}
    assert refined[0]["sentences"] != refined[0]["original"]
