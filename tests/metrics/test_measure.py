"""Scores against the libraries that define them, called directly, and against values computed outside this project."""

import os
import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.meteor.meteor import Meteor
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from sklearn.metrics import accuracy_score, f1_score

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import RELATIONS, Item, load_items
from vsd_utils.evaluate.references import fact_of
from vsd_utils.evaluate.sentence_scores import Engine, SentenceTask, score_sentences
from vsd_utils.metrics.bootstrap import compare, draw, intervals, resample
from vsd_utils.metrics.challenge import challenge_scores
from vsd_utils.metrics.java.meteor import meteor_counts, meteor_measure, meteor_score
from vsd_utils.metrics.java.runtime import find_java
from vsd_utils.metrics.java.tokenizer import tokenize
from vsd_utils.metrics.measure import mean_measure
from vsd_utils.metrics.ngrams import bleu_measure, cider_scores, rouge_scores, self_bleu
from vsd_utils.metrics.relation_f1 import confusion_counts, relation_measures

CLOSE = {"rel": 0, "abs": 1e-7}  # on a scale of 100: 1e-9 of the libraries' 0..1


@pytest.fixture(scope="module")
def pairs(real_vsd: Path) -> list[tuple[Item, Item]]:
    first, second = (load_items(annotation_file(version, "val", real_vsd)) for version in (1, 2))
    return list(zip(first, second, strict=True))


@pytest.fixture(scope="module")
def tokens(pairs) -> dict[str, str]:
    templates = (form.format(s=t.s, o=t.o, p=t.p) for i, _ in pairs for t in i.triple_list for form in FORMS)
    return tokenize([*templates, *(c for pair in pairs for item in pair for c in item.captions)])


FORMS = ("the {s} is {p} the {o}.", "there is a {s} {p} the {o}.", "there is a {s} on the {o}.")


def filled(form: str, item: Item) -> str:
    triple = item.triple_list[0]
    return form.format(s=triple.s, o=triple.o, p=triple.p)


@pytest.mark.parametrize(
    ("form", "version", "expected"),
    [
        (FORMS[0], 0, 33.20),
        (FORMS[1], 0, 55.92),
        (FORMS[0], 1, 23.32),
        (FORMS[1], 1, 18.01),
        (FORMS[2], 0, 32.24),
        (None, 0, 18.70),
        (None, 1, 10.73),
    ],
)
def test_bleu_of_the_real_validation_files(pairs, tokens, form, version, expected) -> None:
    # Without a form: the first caption of the other version, by a person.
    given_ = [tokens[filled(form, p[0]) if form else p[1 - version].captions[0]] for p in pairs]
    known = [[tokens[c] for c in p[version].captions] for p in pairs]
    value = bleu_measure(given_, known).value
    assert round(value, 2) == expected
    ids = range(len(pairs))
    library, _ = Bleu(4).compute_score(dict(zip(ids, known, strict=True)), {n: [given_[n]] for n in ids}, verbose=0)
    assert value == pytest.approx(100 * library[3], **CLOSE)


def test_self_bleu_in_both_readings(pairs, tokens) -> None:
    three = [[tokens[c] for c in item.captions[:3]] for item, _ in pairs if len(item.captions) >= 3]
    by_rank, by_sentence = self_bleu(three)
    assert len(three) == 2395
    assert (round(by_rank.value, 2), round(by_sentence.mean(), 2)) == (60.31, 50.35)


def test_tokens_and_scores_equal_the_libraries(pairs, tokens, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(find_java().program.parent), prepend=os.pathsep)
    some = random.Random(0).sample(pairs, 150)
    raw = {n: [{"caption": c} for c in first.captions] for n, (first, _) in enumerate(some)}
    known = PTBTokenizer().tokenize(raw)
    assert known == {n: [tokens[c] for c in first.captions] for n, (first, _) in enumerate(some)}

    captions = [tokens[second.captions[0]] for _, second in some]
    references = [known[n] for n in range(len(some))]
    given_ = {n: [caption] for n, caption in enumerate(captions)}
    rouge, rouge_each = Rouge().compute_score(known, given_)
    assert rouge_scores(captions, references) == pytest.approx(rouge_each, abs=1e-12)
    cider, cider_each = Cider().compute_score(known, given_)
    assert cider_scores(captions, references) == pytest.approx(cider_each, abs=1e-12)
    meteor, meteor_each = Meteor().compute_score(known, given_)
    counts = meteor_counts(list(zip(captions, references, strict=True)), folder=tmp_path)
    assert meteor_score(counts) == pytest.approx(np.array(meteor_each), abs=1e-12)
    assert meteor_measure(counts).value == pytest.approx(100 * meteor, **CLOSE)

    task = SentenceTask(
        [[s.captions[0]] for _, s in some], [f.captions for f, _ in some], [fact_of(f) for f, _ in some]
    )
    scored = score_sentences({"v2": task}, Engine(cache=tmp_path, spice=False))["v2"]
    values = {name: measure.value for name, measure in scored.measures.items()}
    corpus, each = Bleu(4).compute_score(known, given_, verbose=0)
    assert values["bleu4"] == pytest.approx(100 * corpus[3], **CLOSE)
    assert scored.each["bleu4"][:, 0] == pytest.approx(100 * np.array(each[3]), abs=1e-7)
    best = [
        max(Bleu(4).compute_score({0: [r]}, {0: [c]}, verbose=0)[0][3] for r in many)
        for c, many in zip(captions, references, strict=True)
    ]
    assert values["bleu4_per_reference_max"] == pytest.approx(100 * np.mean(best), **CLOSE)
    assert values["rouge_l"] == pytest.approx(100 * rouge, **CLOSE)
    assert values["cider"] == pytest.approx(100 * cider, **CLOSE)
    assert scored.missing.keys() == {"spice", "spice_per_reference_max", "relation_learned"}


labels = st.sampled_from(RELATIONS)
answers = st.sampled_from([*RELATIONS, ""])


@given(st.lists(st.lists(st.tuples(labels, answers), min_size=1, max_size=3), min_size=1, max_size=30))
def test_f1_equals_scikit_learn(images) -> None:
    counts = confusion_counts([[g for g, _ in i] for i in images], [[p for _, p in i] for i in images])
    measures = relation_measures(counts)
    gold, predicted = zip(*(pair for image in images for pair in image), strict=True)
    occurring = [relation for relation in RELATIONS if relation in {*gold, *predicted}]
    assert measures["accuracy"].value == pytest.approx(100 * accuracy_score(gold, predicted), **CLOSE)
    for name in ("micro", "macro", "weighted"):
        expected = f1_score(gold, predicted, labels=occurring, average=name, zero_division=0)
        assert measures[f"f1_{name}"].value == pytest.approx(100 * expected, **CLOSE)


def test_challenge_scores_by_hand() -> None:
    values = {"task1.f1_macro": 40.0, "task2.bleu4": 50.0, "task2.spice": 60.0, "task3.spice": 30.0}
    values |= {"task3.mbleu4_by_rank": 20.0, "task2.bleu4_per_reference_max": 10.0}
    scores = challenge_scores(values)
    assert scores["z.code.z2"] == pytest.approx(56)
    assert scores["z.code.z3_by_rank"] == pytest.approx(30)
    assert scores["z.code.overall_macro_by_rank"] == pytest.approx(0.2 * 40 + 0.3 * 56 + 0.5 * 30)
    assert scores["z.website.z2"] is None
    assert scores["z.code.z3_by_sentence"] is None


def test_a_resample_is_the_score_of_the_images_drawn(pairs, tokens) -> None:
    some = pairs[:40]
    given_ = [tokens[second.captions[0]] for _, second in some]
    known = [[tokens[c] for c in first.captions] for first, _ in some]
    gold = [[t.p for t in first.triple_list] for first, _ in some]
    guess = [["on"] * len(row) for row in gold]
    relation = relation_measures(confusion_counts(gold, guess))
    measures = {"bleu": bleu_measure(given_, known), "f1": relation["f1_macro"], "accuracy": relation["accuracy"]}
    weights = draw(len(some), resamples=5, seed=3)
    values = resample(measures, weights)
    for row, times in enumerate(weights.astype(int)):
        drawn = [n for n, count in enumerate(times) for _ in range(count)]
        assert len(drawn) == len(some)
        ids = range(len(drawn))
        references = {n: known[drawn[n]] for n in ids}
        library, _ = Bleu(4).compute_score(references, {n: [given_[drawn[n]]] for n in ids}, verbose=0)
        assert values["bleu"][row] == pytest.approx(100 * library[3], **CLOSE)
        right, said = ([label for n in drawn for label in rows[n]] for rows in (gold, guess))
        assert values["f1"][row] == pytest.approx(
            100 * f1_score(right, said, average="macro", zero_division=0), **CLOSE
        )


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    values = np.random.default_rng(0).random(300)
    low, high = intervals({"mean": mean_measure(values)}, resamples=20_000)["mean"]
    half = 100 * 1.96 * values.std() / np.sqrt(len(values))
    assert (low, high) == pytest.approx((100 * values.mean() - half, 100 * values.mean() + half), abs=0.1)
    with pytest.raises(VsdError, match="at least two images"):
        intervals({"mean": mean_measure([1.0])})


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 0.4))
def test_a_paired_test_sees_a_difference_only_where_there_is_one(seed, shift) -> None:
    generator = np.random.default_rng(seed)
    values = generator.random(300)
    other = values + generator.permutation(np.linspace(-0.5, 0.5, 300))
    one, same, better = ({"score": mean_measure(v)} for v in (values, other, other + 0.1 + shift))
    assert compare(one, one)["score"] == (0, 0, 0, 1)
    assert compare(one, same)["score"].p > 0.5  # the differences sum to nought
    forward, backward = compare(better, one)["score"], compare(one, better)["score"]
    assert forward.p == pytest.approx(1 / 1001)
    assert forward.low > 0
    assert (backward.difference, backward.low, backward.high) == pytest.approx(
        (-forward.difference, -forward.high, -forward.low)
    )


HOSTILE = st.text(
    st.one_of(
        st.characters(), st.sampled_from("\n\r\x0b\x0c\x1c\x85\u2028\u2029\x00\t\"'`<>|&.-() aZ"), st.just("\ud800")
    ),
    max_size=40,
)


@settings(max_examples=8, deadline=None)
@given(st.lists(HOSTILE, min_size=1, max_size=60, unique=True), st.randoms())
def test_no_caption_ever_shifts_another(texts, rng) -> None:
    texts = [*texts, "A dog, on the 'mat'.", "x" * 10_000, "y\n" * 5_000, ""]
    shuffled = rng.sample(texts, len(texts))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        found = tokenize(texts, folder=Path(one))
        assert found == tokenize(shuffled, folder=Path(other))
        assert tokenize(texts, folder=Path(one)) == found
    assert found["A dog, on the 'mat'."] == "a dog on the mat"
    assert found["x" * 10_000] == "x" * 10_000
    assert found["y\n" * 5_000].split() == ["y"] * 5_000
    assert not any(mark in line for line in found.values() for mark in "\n\r\x0b\x0c\x85\u2028\u2029")
