"""Every score as sums over images, so that its value, its interval and a paired test come from the same numbers.

A ``Measure`` holds, for each image, the counts that a score is made of, and the formula that turns their sum into the
score: n-gram counts and lengths for corpus BLEU, a confusion matrix for F1, the jar's counts for METEOR, score and
weight for a mean. Counting is left to the libraries that define the scores (pycocoevalcap; METEOR's and SPICE's jars);
the closing formulas are vectorised over resamples and tested to equal the libraries to 1e-9. Scores are 0..100; CIDEr,
which the libraries give on 0..10, is times 100 as published, so 0..1000.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.metrics.java.meteor import meteor_score, meteor_sums

Array = NDArray[Any]
AVERAGES = ("micro", "macro", "weighted")
_CLASSES = len(RELATIONS)
_SMALL, _TINY = 1e-9, 1e-15  # pycocoevalcap's guards against a division by nought


@dataclass(frozen=True)
class Measure:
    """``counts`` (images, k) float64; ``formula`` maps sums (rows, k) to scores (rows,) on 0..100."""

    counts: Array
    formula: Callable[[Array], Array]

    @property
    def value(self) -> float:
        """The score over all images."""
        return float(self.formula(self.counts.sum(0, keepdims=True))[0])

    def resampled(self, weights: Array) -> Array:
        """Scores (rows,) where row r counts image i ``weights[r, i]`` times."""
        return self.formula(weights @ self.counts)


def mean_measure(scores: Sequence[float] | Array, scale: float = 100.0) -> Measure:
    """The mean of one score an image, times ``scale``."""
    column = np.asarray(scores, dtype=np.float64)
    return Measure(np.column_stack([column * scale, np.ones(len(column))]), lambda sums: sums[:, 0] / sums[:, 1])


def mean_of(measures: Sequence[Measure]) -> Measure:
    """The mean of several measures over the same images (task 3: of its three sentences)."""
    edges = np.cumsum([measure.counts.shape[1] for measure in measures])[:-1]

    def formula(sums: Array) -> Array:
        parts = np.split(sums, edges, axis=1)
        values = [measure.formula(part) for measure, part in zip(measures, parts, strict=True)]
        return np.asarray(np.mean(values, axis=0))

    return Measure(np.hstack([measure.counts for measure in measures]), formula)


# --- task 1 ---------------------------------------------------------------------------------------------------------


def confusion_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Array:
    """Per image the confusion matrix (gold relation, predicted relation or none of the nine), flat: (images, 90)."""
    index = {relation: number for number, relation in enumerate(RELATIONS)}
    counts = np.zeros((len(gold), _CLASSES, _CLASSES + 1))
    for row, (right, given) in enumerate(zip(gold, predicted, strict=True)):
        for label, answer in zip(right, given, strict=True):
            counts[row, index[label], index.get(answer, _CLASSES)] += 1
    return counts.reshape(len(gold), -1)


def relation_measures(counts: Array) -> dict[str, Measure]:
    """Accuracy, F1 by each averaging and F1 of each relation, as scikit-learn defines them over the nine relations.

    A relation that occurs neither in the gold labels nor in the predictions is left out of the macro average, as
    scikit-learn does by default; an answer that is none of the nine is a miss and no class of its own.
    """

    def parts(sums: Array) -> tuple[Array, Array, Array]:
        matrix = sums.reshape(len(sums), _CLASSES, _CLASSES + 1)
        right = np.diagonal(matrix, axis1=1, axis2=2)
        return right, matrix.sum(2), matrix[:, :, :_CLASSES].sum(1)

    def divide(upper: Array, lower: Array) -> Array:
        return np.divide(upper, lower, out=np.zeros_like(upper, dtype=np.float64), where=lower > 0)

    def each(sums: Array) -> Array:
        right, gold, given = parts(sums)
        return 100 * divide(2 * right, gold + given)

    def accuracy(sums: Array) -> Array:
        right, gold, _ = parts(sums)
        return 100 * divide(right.sum(1), gold.sum(1))

    def micro(sums: Array) -> Array:
        right, gold, given = parts(sums)
        return 100 * divide(2 * right.sum(1), gold.sum(1) + given.sum(1))

    def macro(sums: Array) -> Array:
        _, gold, given = parts(sums)
        return divide(each(sums).sum(1), (gold + given > 0).sum(1))

    def weighted(sums: Array) -> Array:
        _, gold, _ = parts(sums)
        return divide((each(sums) * gold).sum(1), gold.sum(1))

    formulas: dict[str, Callable[[Array], Array]] = {"accuracy": accuracy}
    formulas |= {"f1_micro": micro, "f1_macro": macro, "f1_weighted": weighted}
    measures = {name: Measure(counts, formula) for name, formula in formulas.items()}
    for number, relation in enumerate(RELATIONS):
        measures[f"f1 {relation}"] = Measure(counts, functools.partial(_column, each, number))
    return measures


def _column(formula: Callable[[Array], Array], number: int, sums: Array) -> Array:
    return np.asarray(formula(sums)[:, number])


# --- BLEU -----------------------------------------------------------------------------------------------------------


def bleu_counts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """pycocoevalcap's counts for BLEU-4 of tokenized captions: (n, 10) of length, closest reference length, number of
    n-grams and number of matched n-grams for n = 1..4."""
    # A repeated reference changes neither the highest count of an n-gram nor the closest length.
    rows = [
        _bleu_row(caption, tuple(dict.fromkeys(known))) for caption, known in zip(captions, references, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 10)


@functools.lru_cache(maxsize=1 << 17)
def _bleu_row(caption: str, references: tuple[str, ...]) -> tuple[int, ...]:
    cooked = cook_test(caption, _cooked(references))
    length = cooked["testlen"]
    closest = min((abs(known - length), known) for known in cooked["reflen"])[1]
    return (length, closest, *cooked["guess"], *cooked["correct"])


_cooked = functools.lru_cache(maxsize=1 << 15)(cook_refs)


def bleu_score(counts: Array) -> Array:
    """BLEU-4 in 0..100 of each row of counts, by pycocoevalcap's formula (no smoothing, closest length): (rows,)."""
    precision = ((counts[:, 6:] + _TINY) / (counts[:, 2:6] + _SMALL)).prod(1) ** 0.25
    ratio = (counts[:, 0] + _TINY) / (counts[:, 1] + _SMALL)
    with np.errstate(over="ignore"):
        brevity = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
    return np.asarray(100 * precision * brevity)


def bleu_measure(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """Corpus BLEU-4 with all references together."""
    return Measure(bleu_counts(captions, references), bleu_score)


def bleu_maximum(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """For each caption its highest BLEU-4 (one sentence, 0..100) against a single reference: (n,)."""
    distinct = [list(dict.fromkeys(known)) for known in references]
    flat = [(caption, (known,)) for caption, many in zip(captions, distinct, strict=True) for known in many]
    scores = bleu_score(bleu_counts(*zip(*flat, strict=True)))
    starts = np.cumsum([0, *map(len, distinct)])[:-1]
    return np.maximum.reduceat(scores, starts)


def self_bleu(sentences: Sequence[Sequence[str]]) -> tuple[Measure, Array]:
    """mBLEU-4 of k sentences an image, each against the image's others: the corpus reading and the values (n, k).

    The corpus reading (by rank) is the mean over ranks of corpus BLEU-4; the other (by sentence) is the mean over
    sentences of sentence BLEU-4, of which the values are given. Lower is more diverse.
    """
    ranks = len(sentences[0])
    others = [[[*item[:rank], *item[rank + 1 :]] for item in sentences] for rank in range(ranks)]
    measures = [bleu_measure([item[rank] for item in sentences], others[rank]) for rank in range(ranks)]
    return mean_of(measures), np.column_stack([bleu_score(measure.counts) for measure in measures])


# --- the other caption scores ---------------------------------------------------------------------------------------


def rouge_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """ROUGE-L in 0..1 of each tokenized caption, by pycocoevalcap: (n,)."""
    score = Rouge().calc_score
    distinct = [list(dict.fromkeys(known)) for known in references]
    return np.array([score([caption], known) for caption, known in zip(captions, distinct, strict=True)])


def cider_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """CIDEr in 0..10 of each tokenized caption, by pycocoevalcap, document frequencies from these references: (n,)."""
    scorer = CiderScorer()
    for caption, known in zip(captions, references, strict=True):
        scorer += (caption, list(known))
    return np.asarray(scorer.compute_score()[1])


def meteor_measure(counts: Array) -> Measure:
    """Corpus METEOR from the jar's counts."""
    return Measure(meteor_sums(counts), lambda sums: 100 * meteor_score(sums))


# --- the challenge's combinations -----------------------------------------------------------------------------------

READINGS = {"code": ("bleu4", "spice"), "website": ("bleu4_per_reference_max", "spice_per_reference_max")}
Value = Any  # a float, or an array of one score a resample


def challenge_scores(values: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """z1, z2, z3 and overall of the ACM MM 2024 challenge, 0..100, from scores keyed "task1.f1_macro" and so on.

    z1 = F1; z2 = 0.4 BLEU-4 + 0.6 SPICE of task 2; z3 = 0.5 (50 - mBLEU-4) + 0.5 SPICE of task 3;
    overall = 0.2 z1 + 0.3 z2 + 0.5 z3. Keys are "z.READING.NAME"; F1's averaging and mBLEU's reading are in the name
    where they matter. What lacks a part is None.
    """
    scores: dict[str, Value | None] = {}

    def combine(key: str, constant: float, parts: Sequence[tuple[float, Value | None]]) -> Value | None:
        if any(part is None for _, part in parts):
            scores[key] = None
        else:
            scores[key] = constant + sum(weight * part for weight, part in parts if part is not None)
        return scores[key]

    for reading, (bleu, spice) in READINGS.items():
        two = combine(f"z.{reading}.z2", 0.0, [(0.4, values.get(f"task2.{bleu}")), (0.6, values.get(f"task2.{spice}"))])
        ones = {
            name: combine(f"z.{reading}.z1_{name}", 0.0, [(1.0, values.get(f"task1.f1_{name}"))]) for name in AVERAGES
        }
        for kind in ("by_rank", "by_sentence"):
            diversity, content = values.get(f"task3.mbleu4_{kind}"), values.get(f"task3.{spice}")
            three = combine(f"z.{reading}.z3_{kind}", 25.0, [(-0.5, diversity), (0.5, content)])
            for name, one in ones.items():
                combine(f"z.{reading}.overall_{name}_{kind}", 0.0, [(0.2, one), (0.3, two), (0.5, three)])
    return scores
