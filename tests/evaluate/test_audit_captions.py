"""Captions are read to the word or not at all, and every copy of one keeps the grammar."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import RELATIONS, load_versions
from vsd_utils.evaluate import audit_edits
from vsd_utils.evaluate.audit_captions import noun_numbers, read_caption
from vsd_utils.evaluate.audit_edits import edit_captions, swap_names
from vsd_utils.metrics.relation_checker import statement

NUMBERS = {"cat": "singular", "owl": "singular", "red box": "singular", "trees": "plural", "dogs": "plural"}
NUMBERS |= {"grass": "mass", "snow": "mass"}
ENDINGS = ("", ".")


@st.composite
def captions(draw) -> tuple[str, str, str]:
    """A caption of the form that is read, with its two names."""
    subject, object_ = draw(st.permutations(sorted(NUMBERS)))[:2]
    plural = NUMBERS[subject] == "plural"

    def phrase(name: str) -> str:
        article = {"singular": "an" if name == "owl" else "a", "plural": "some", "mass": "some"}[NUMBERS[name]]
        bare = [""] if NUMBERS[name] != "singular" else []
        return f"{draw(st.sampled_from([article, 'the', *bare]))} {name}".strip()

    be = "are" if plural else "is"
    form = draw(
        st.sampled_from(["there {be} {s} {p} {o}", "{s} {be} {p} {o}", "{s} {be} sitting {p} {o}", "{s} {p} {o}"])
    )
    text = form.format(be=be, s=phrase(subject), p=draw(st.sampled_from(RELATIONS)), o=phrase(object_))
    return text + draw(st.sampled_from(ENDINGS)), subject, object_


@given(captions())
def test_what_is_read_is_written_again_and_a_swap_is_undone_by_a_swap(made) -> None:
    text, subject, object_ = made
    read = read_caption(text.capitalize(), subject, object_, NUMBERS)
    assert read is not None
    assert read.text() == text
    swapped = swap_names(read)
    if swapped:
        assert swap_names(swapped) == read
        again = read_caption(swapped.text(), object_, subject, NUMBERS)
        assert again is not None
        assert again.text() == swapped.text()


@pytest.mark.parametrize(
    ("names", "caption", "swapped", "negated"),
    [
        (
            ("cat", "trees"),
            "there is a cat behind some trees.",
            "there are some trees behind a cat.",
            "there is no cat behind some trees.",
        ),
        (
            ("dogs", "owl"),
            "the dogs are sitting on the owl",
            "the owl is sitting on the dogs",
            "the dogs are not sitting on the owl",
        ),
        (
            ("cat", "owl"),
            "a big cat in front of an owl.",
            "a big owl in front of a cat.",
            "a big cat not in front of an owl.",
        ),
        (("grass", "cat"), "there is grass under a cat", None, "there is no grass under a cat"),
        (("dogs", "owl"), "two dogs under the owl", None, "two dogs not under the owl"),
        (("dogs", "snow"), "some dogs in the snow.", "some snow in the dogs.", "some dogs not in the snow."),
        (("cat", "owl"), "there is the cat that is on an owl", "there is the owl that is on a cat", None),
    ],
)
def test_swaps_and_negations_by_hand(names, caption, swapped, negated) -> None:
    read = read_caption(caption, *names, NUMBERS)
    assert read is not None
    found = swap_names(read)
    assert (found and found.text()) == swapped
    denied = audit_edits._negated(read)
    assert (denied and denied.text()) == negated
    if denied:
        assert statement(denied.text(), *names).refusal == "negated"


@pytest.mark.parametrize(
    "caption",
    [
        "a owl is on the cat",  # what a caption gets wrong, its copies would get wrong as well
        "the owl are on the cat",
        "the owl is on the cat in the snow",
        "the owl, on the cat",
        "the owl eating mice on the cat",
        "the cat is on the owl",
        "the owl is over the cat",
        "the owl is on the cat cat",
    ],
)
def test_what_does_not_have_the_form_is_not_read(caption) -> None:
    assert read_caption(caption, "owl", "cat", NUMBERS) is None


def test_numbers_are_learned_from_use() -> None:
    used = [
        "a cat is on a mat",
        "many dogs are on the mat",
        "the grass is under the mat",
        "there is grass behind a cat",
        "grass is next to a cat",
        "there is ketchup",  # once is no habit
    ]
    names = ("cat", "mat", "dogs", "grass", "ketchup", "absent")
    assert noun_numbers((text, names) for text in used) == {
        "cat": "singular", "mat": "singular", "dogs": "plural", "grass": "mass"
    }  # fmt: skip


def test_the_edits_of_the_real_files_are_what_the_rules_read(real_vsd: Path) -> None:
    images = load_versions(*(annotation_file(version, "val", real_vsd) for version in (1, 2)))
    known = [each.v1.captions for each in images]
    edited = edit_captions([each.v1 for each in images], known, known, 0)
    assert len(edited) > 2_000
    assert {one.relation for one in edited} == set(RELATIONS)
    for one in edited:
        for edit, relation in one.relations.items():
            assert relation in statement(one.copies[edit], one.subject, one.object).relations, one
        if "negation" in one.copies:
            assert statement(one.copies["negation"], one.subject, one.object).refusal == "negated"


# Written by hand from English grammar, not from the code: what no copy may have, whatever its caption had.
UNGRAMMATICAL = {
    "a before a vowel's sound": r"\ba (?!one\b|uni(?!n)|use|uti|uri|eu)[aeiou]",
    "an before a consonant's sound": r"\ban (?!hour|honest|heir|herb|suv\b|x-?ray|mp3)[^aeiou\W]",
    "one of a plural": r"\b(a|an|one|each|another|this|that) (people|men|women|children|trees|cars|dogs|clouds)\b",
    "several of a singular": r"\b(two|three|many|several|these|those) (man|woman|child|person|dog|car|tree)\b",
    "two determiners": r"\b(a|an|the|some|no) (a|an|the|some|no)\b",
    "verb and noun": r"\bis (some )?(people|men|women|children|trees|cars|dogs|clouds)\b|^(people|men|trees|cars) is\b",
    "a word twice": r"\b(\w+) \1\b",
    "not without place": r"\bnot not\b|\bno .* not\b",
    "blanks": r"  |^ | $",
}


def test_the_copies_of_the_real_files_have_none_of_the_usual_mistakes(real_vsd: Path) -> None:
    images = load_versions(*(annotation_file(version, "val", real_vsd) for version in (1, 2)))
    known = [each.v1.captions for each in images]
    copies = 0
    for written in (known, [each.v2.captions for each in images]):
        for one in edit_captions([each.v1 for each in images], written, known, 0):
            for edit, copy in one.copies.items():
                copies += 1
                found = [name for name, mistake in UNGRAMMATICAL.items() if re.search(mistake, copy)]
                assert not found, (found, edit, one.original, copy)
    assert copies > 10_000
