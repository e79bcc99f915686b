"""Task 1: accuracy and F1 of predicted relations, as scikit-learn defines them over the nine relations."""

import functools
from collections.abc import Sequence

import numpy as np

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.metrics.measure import Array, Measure

AVERAGES = ("micro", "macro", "weighted")
_CLASSES = len(RELATIONS)


def confusion_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> Array:
    """Count each image's triples by gold relation and by predicted relation or none of the nine.

    Float64 (images, 90): a matrix of 9 gold relations by 9 predicted ones and "none of the nine", flat.
    """
    index = {relation: number for number, relation in enumerate(RELATIONS)}
    counts = np.zeros((len(gold), _CLASSES, _CLASSES + 1))
    for image, (gold_relations, answers) in enumerate(zip(gold, predicted, strict=True)):
        for relation, answer in zip(gold_relations, answers, strict=True):
            counts[image, index[relation], index.get(answer, _CLASSES)] += 1
    return counts.reshape(len(gold), -1)


def relation_measures(counts: Array) -> dict[str, Measure]:
    """Measure "accuracy", "f1_micro", "f1_macro", "f1_weighted" and "f1 RELATION", from ``confusion_counts``.

    A relation that occurs neither in the gold labels nor in the predictions is left out of the macro average, as
    scikit-learn does by default; an answer that is none of the nine is a miss and no class of its own.
    """
    formulas = {"accuracy": _accuracy, "f1_micro": _micro, "f1_macro": _macro, "f1_weighted": _weighted}
    measures = {name: Measure(counts, formula) for name, formula in formulas.items()}
    for number, relation in enumerate(RELATIONS):
        measures[f"f1 {relation}"] = Measure(counts, functools.partial(_f1_of_one, number=number))
    return measures


# Each formula takes summed counts (rows, 90), a row for each resample, and gives scores (rows,) on 0..100.


def _accuracy(sums: Array) -> Array:
    right, gold, _ = _totals(sums)
    return 100 * _divide(right.sum(1), gold.sum(1))


def _micro(sums: Array) -> Array:
    right, gold, predicted = _totals(sums)
    return 100 * _divide(2 * right.sum(1), gold.sum(1) + predicted.sum(1))


def _macro(sums: Array) -> Array:
    _, gold, predicted = _totals(sums)
    occurring = (gold + predicted > 0).sum(1)
    return _divide(_f1(sums).sum(1), occurring)


def _weighted(sums: Array) -> Array:
    _, gold, _ = _totals(sums)
    return _divide((_f1(sums) * gold).sum(1), gold.sum(1))


def _f1_of_one(sums: Array, number: int) -> Array:
    return np.asarray(_f1(sums)[:, number])


def _f1(sums: Array) -> Array:
    """F1 of each relation, (rows, 9)."""
    right, gold, predicted = _totals(sums)
    return 100 * _divide(2 * right, gold + predicted)


def _totals(sums: Array) -> tuple[Array, Array, Array]:
    """Numbers of right answers, of gold labels and of predictions of each relation, (rows, 9) each."""
    matrix = sums.reshape(len(sums), _CLASSES, _CLASSES + 1)  # (rows, gold, predicted or none of the nine)
    right = np.diagonal(matrix, axis1=1, axis2=2)
    return right, matrix.sum(2), matrix[:, :, :_CLASSES].sum(1)


def _divide(upper: Array, lower: Array) -> Array:
    """Nought where the denominator is nought."""
    return np.divide(upper, lower, out=np.zeros_like(upper, dtype=np.float64), where=lower > 0)
