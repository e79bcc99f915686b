import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.metrics import english
from vsd_utils.metrics.relation_checker import SAID_FROM_THE_OBJECT, statement, states_relation

TEMPLATES = (
    "{s} {p} {o}.",
    "the {s} is {p} the {o}.",
    "There is a {s} {p} the {o}.",
    "The big red {s} can be seen {p} some old {o}!",
    "A {s} is sitting {p} the {o}",
    "a {s} that is {p} a {o}.",
)
# A name made of these words could itself be read as (part of) the statement.
GRAMMAR = english.BOUNDS | english.VERBS | english.ACTS | english.NEGATIONS | {"left", "right", "side", "top", "front"}
words = st.text(st.sampled_from("abcdemnortv0.*+?()[]{}|^$\\'é"), min_size=1, max_size=8)


def plain(name: str) -> bool:
    read = english.read(name).words
    return bool(read) and not any(w in GRAMMAR or w.endswith("n't") or english.verb_like(w) or w == "s" for w in read)


names = st.one_of(
    st.sampled_from(["cow's ear", "t.v.", "slices of  pizza", "man hand", "chair.", "wooden chest", "letter h"]),
    st.lists(words, min_size=1, max_size=3).map(" ".join).filter(plain),
)


def different(subject: str, object: str) -> bool:
    """No name lies inside the other, so it is clear who is who."""
    ours, theirs = (set().union(*map(english.forms, english.read(name).words)) for name in (subject, object))
    return not ours & theirs


@given(names, names, st.sampled_from(RELATIONS), st.sampled_from(TEMPLATES))
def test_templates_state_their_relation_and_no_other(subject, object, relation, template):
    if not different(subject, object):
        return
    sentence = template.format(s=subject, p=relation, o=object)
    assert statement(sentence, subject, object).relations == {relation}
    swapped = statement(sentence, object, subject).relations
    assert swapped == {other for other in RELATIONS if relation in SAID_FROM_THE_OBJECT[other]}
    assert states_relation(sentence.upper(), subject, object, relation)


@given(st.text(), st.text(), st.text())
def test_no_text_raises(sentence, subject, object):
    for head in (False, True):
        found = statement(sentence, subject, object, head=head)
        assert (found.refusal is None) == bool(found.relations)


SALAD = ["the", "a", "is", "on", "in", "of", "left", "next", "to", "ball", "box", "with", "it", ",", ".", "not", "and"]


@given(st.lists(st.sampled_from(SALAD)))
def test_word_salad_never_raises_and_needs_both_names(tokens):
    found = statement(" ".join(tokens), "ball", "box")
    assert not found.relations or {"ball", "box"} <= set(tokens)


@pytest.mark.parametrize(
    ("sentence", "relations"),
    [
        ("the ball is on top of the box", {"on"}),
        ("The box is beneath the ball.", {"on", "above"}),
        ("the box is underneath a big red ball", {"on", "above"}),
        ("balls atop a pile of boxes", {"on"}),
        ("on the box is a ball.", {"on"}),
        ("On the box, there is a red ball.", {"on"}),
        ("there is a box with a ball in it.", {"in"}),
        ("A box that has a ball inside.", {"in"}),
        ("the box contains a ball", {"in"}),
        ("The ball and the box are next to each other.", {"next to"}),
        ("a ball is standing close to the box", {"next to"}),
        ("the ball is to the left of the box", {"to the left of"}),
        ("the ball is on the left of the box", {"to the left of"}),
        ("the box is on the right side of the ball", {"to the left of"}),
        ("the ball is in front of the box", {"in front of"}),
        ("the ball with blue dots in the corner is behind the box", {"behind"}),
        ("Behind the box stands a ball.", {"behind"}),
        ("the ball is behind and to the left of the box", {"behind", "to the left of"}),
    ],
)
def test_ways_of_saying_it(sentence, relations):
    assert statement(sentence, "ball", "box").relations == relations


@pytest.mark.parametrize(
    ("sentence", "refusal"),
    [
        ("the ball is not on the box", "negated"),
        ("the ball isn't on the box", "negated"),
        ("a ball.", "no_object"),
        ("a snowball is on the box", "no_subject"),
        ("the ball is on the table. The cup is on the box.", "no_relation"),
        ("the ball is on the table near the box", "no_relation"),
        ("the man near the ball is on the box", "no_relation"),
        ("the ball is on the lid of the box", "no_relation"),
        ("the ball is on the box car", "no_relation"),
        ("the ball boy is on the box", "no_relation"),
        ("the ball is in a cup that is on the box", "no_relation"),
        ("there is a ball, and there is a cup on the box", "no_relation"),
        ("the ball, the box and on", "no_relation"),
    ],
)
def test_what_it_is_not_fooled_by(sentence, refusal):
    assert statement(sentence, "ball", "box") == (frozenset(), refusal)


def test_head_noun_and_same_name():
    assert not states_relation("the light is above a road", "street light", "road", "above")
    assert states_relation("the light is above a road", "street light", "road", "above", head=True)
    assert states_relation("slices on the plate", "slices of  pizza", "plate", "on", head=True)
    assert states_relation("the man's hand is on the box", "man hand", "box", "on")
    # Two signs cannot be told apart, so only the order of mention counts.
    assert statement("a sign is to the left of another sign.", "sign", "sign").relations == {"to the left of"}


@pytest.mark.parametrize(
    ("file", "stated", "stated_of_named", "other"),
    [("VSDv1/val.json", 0.83, 0.92, 0.035), ("VSDv2/newvsd_val.json", 0.44, 0.69, 0.105)],
)
def test_real_captions(real_vsd, file, stated, stated_of_named, other):
    counts = dict.fromkeys(("captions", "named", "stated", "other"), 0)
    for item in json.loads((real_vsd / file).read_text()):
        if len(item["triple_list"]) == 1:
            triple = item["triple_list"][0]
            for caption in item["captions"]:
                found = statement(caption, triple["s"], triple["o"])
                counts["captions"] += 1
                counts["named"] += found.refusal not in ("no_subject", "no_object")
                counts["stated"] += triple["p"] in found.relations
                # on and above share their inverse, so one is no error for the other.
                counts["other"] += any({r, triple["p"]} != {"on", "above"} for r in found.relations - {triple["p"]})
    assert counts["stated"] / counts["captions"] >= stated
    assert counts["stated"] / counts["named"] >= stated_of_named
    assert counts["other"] / counts["captions"] <= other
