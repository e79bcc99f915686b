"""A score as sums over images, so that its value, its interval and a paired test come from the same numbers.

A ``Measure`` holds, for each image, the counts that a score is made of, and the formula that turns their sum into the
score: n-gram counts and lengths for corpus BLEU, a confusion matrix for F1, the jar's counts for METEOR, score and
weight for a mean. Counting is left to the libraries that define the scores (pycocoevalcap; METEOR's and SPICE's jars);
the closing formulas are vectorised over resamples and tested to equal the libraries to 1e-9. Scores are 0..100; CIDEr,
which the libraries give on 0..10, is times 100 as published, so 0..1000.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Measure:
    """``counts`` (images, k) float64; ``formula`` maps sums (rows, k) to scores (rows,) on 0..100."""

    counts: Array
    formula: Callable[[Array], Array]

    @property
    def value(self) -> float:
        """Score all images, each once."""
        return float(self.formula(self.counts.sum(0, keepdims=True))[0])

    def resampled(self, weights: Array) -> Array:
        """Score each row of ``weights`` (rows, images), which says how often each image counts: (rows,)."""
        return self.formula(weights @ self.counts)


def mean_measure(scores: Sequence[float] | Array, scale: float = 100.0) -> Measure:
    """Average one score an image, (images,), times ``scale``."""
    column = np.asarray(scores, dtype=np.float64)
    return Measure(np.column_stack([column * scale, np.ones(len(column))]), lambda sums: sums[:, 0] / sums[:, 1])


def share_measure(right: Array, image: Array) -> Measure:
    """Give the share of pairs that are right, in %.

    ``right`` (pairs,) is 0 or 1, ``image`` (pairs,) tells of which image each pair
    is. An image counts with all its pairs, and not at all without one.
    """
    _, place = np.unique(image, return_inverse=True)
    counts = np.column_stack([np.bincount(place, weights=100.0 * right), np.bincount(place)])
    return Measure(counts, lambda sums: sums[:, 0] / sums[:, 1])


def mean_of(measures: Sequence[Measure]) -> Measure:
    """Average several measures over the same images (task 3: of its three sentences)."""
    edges = np.cumsum([measure.counts.shape[1] for measure in measures])[:-1]

    def formula(sums: Array) -> Array:
        parts = np.split(sums, edges, axis=1)
        values = [measure.formula(part) for measure, part in zip(measures, parts, strict=True)]
        return np.asarray(np.mean(values, axis=0))

    return Measure(np.hstack([measure.counts for measure in measures]), formula)
