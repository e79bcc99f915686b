"""BLEU-4, mBLEU-4, ROUGE-L and CIDEr of tokenized captions: counted by pycocoevalcap, captions in, arrays out."""

import functools
from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu_scorer import cook_refs, cook_test
from pycocoevalcap.cider.cider_scorer import CiderScorer
from pycocoevalcap.rouge.rouge import Rouge

from vsd_utils.metrics.measure import Array, Measure, mean_of

_SMALL, _TINY = 1e-9, 1e-15  # pycocoevalcap's guards against a division by nought
# Columns of the counts for BLEU-4.
_LENGTH, _CLOSEST_LENGTH, _NGRAMS, _MATCHES = 0, 1, slice(2, 6), slice(6, 10)


def bleu_counts(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Count what BLEU-4 of each caption is made of, by pycocoevalcap: float64 (captions, 10).

    Length, length of the reference whose length is closest, number of n-grams for n = 1..4, and of those that match.
    """
    # A repeated reference changes neither the highest count of an n-gram nor the closest length.
    rows = [
        _bleu_row(caption, tuple(dict.fromkeys(known))) for caption, known in zip(captions, references, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 10)


@functools.lru_cache(maxsize=1 << 17)
def _bleu_row(caption: str, references: tuple[str, ...]) -> tuple[int, ...]:
    # 1. n-grams of the caption, and how many of each the references allow.
    cooked = cook_test(caption, _cooked(references))
    # 2. The closest reference length; of two equally close ones the shorter.
    length = cooked["testlen"]
    closest = min((abs(known - length), known) for known in cooked["reflen"])[1]
    return (length, closest, *cooked["guess"], *cooked["correct"])


_cooked = functools.lru_cache(maxsize=1 << 15)(cook_refs)


def bleu_score(counts: Array) -> Array:
    """Score each row of ``bleu_counts``, or of sums of them: BLEU-4 in 0..100, (rows,).

    By pycocoevalcap's formula, without smoothing.
    """
    # 1. The geometric mean of the four precisions.
    precision = ((counts[:, _MATCHES] + _TINY) / (counts[:, _NGRAMS] + _SMALL)).prod(1) ** 0.25
    # 2. The penalty for captions shorter than their references.
    ratio = (counts[:, _LENGTH] + _TINY) / (counts[:, _CLOSEST_LENGTH] + _SMALL)
    with np.errstate(over="ignore"):
        brevity = np.where(ratio < 1, np.exp(1 - 1 / np.minimum(ratio, 1)), 1.0)
    return np.asarray(100 * precision * brevity)


def bleu_measure(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Measure:
    """Measure corpus BLEU-4 with all references of a caption together."""
    return Measure(bleu_counts(captions, references), bleu_score)


def bleu_maximum(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Score each caption against each of its references alone and take the highest BLEU-4: (captions,), 0..100."""
    # 1. One row for each caption and distinct reference.
    distinct = [list(dict.fromkeys(known)) for known in references]
    flat = [(caption, (reference,)) for caption, known in zip(captions, distinct, strict=True) for reference in known]
    scores = bleu_score(bleu_counts(*zip(*flat, strict=True)))
    # 2. The highest of the rows of each caption.
    starts = np.cumsum([0, *map(len, distinct)])[:-1]
    return np.maximum.reduceat(scores, starts)


def self_bleu(sentences: Sequence[Sequence[str]]) -> tuple[Measure, Array]:
    """Compare each of the k sentences of an image with its others: mBLEU-4 in both readings. Lower is more diverse.

    By rank: the mean over ranks of corpus BLEU-4, as a measure. By sentence: the mean over sentences of sentence
    BLEU-4, of which the values are given, (images, k) in 0..100.
    """
    ranks = range(len(sentences[0]))
    others = [[[*image[:rank], *image[rank + 1 :]] for image in sentences] for rank in ranks]
    measures = [bleu_measure([image[rank] for image in sentences], others[rank]) for rank in ranks]
    return mean_of(measures), np.column_stack([bleu_score(measure.counts) for measure in measures])


def rouge_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Score each caption by pycocoevalcap's ROUGE-L: (captions,), 0..1."""
    score = Rouge().calc_score
    distinct = [list(dict.fromkeys(known)) for known in references]
    return np.array([score([caption], known) for caption, known in zip(captions, distinct, strict=True)])


def cider_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Score each caption by pycocoevalcap's CIDEr, document frequencies from these references: (captions,), 0..10."""
    scorer = CiderScorer()
    for caption, known in zip(captions, references, strict=True):
        scorer += (caption, list(known))
    return np.asarray(scorer.compute_score()[1])
