"""How well scores tell sentences that are right from sentences that are wrong: pair by pair, and all together.

Pair by pair: how often the right sentence scores higher than its own wrong copy. All together: the area under the ROC
curve, the chance that a right sentence scores higher than a wrong one of any image (Mann and Whitney 1947). A tie
counts one half in both, so a score that sees nothing has 50.
"""

import numpy as np

from vsd_utils.metrics.bootstrap import RESAMPLES, draw
from vsd_utils.metrics.measure import Array

_DIGITS = 6  # scores on 0..100 that differ by less are equal


def compared(right: Array, wrong: Array) -> tuple[Array, Array]:
    """Compare each right sentence with its copy, (n,) each: 1.0 where it scores higher; 1.0 where they are equal."""
    difference = np.round(np.asarray(right) - np.asarray(wrong), _DIGITS)
    return (difference > 0).astype(np.float64), (difference == 0).astype(np.float64)


def auc(right: Array, wrong: Array, weights: Array | None = None) -> Array:
    """Give the area under the ROC curve, 0..1, once for each row of ``weights``: (rows,).

    ``right`` and ``wrong`` are scores of the same images, (images,); ``weights`` (rows, images) says how often each
    image counts, by default each once. A row in which no image counts gives NaN.
    """
    images = len(right)
    weights = np.ones((1, images)) if weights is None else weights
    # 1. Equal scores of either kind form a group; groups in rising order.
    _, group = np.unique(np.round(np.concatenate([right, wrong]), _DIGITS), return_inverse=True)
    # 2. How much weight each group has among the right and among the wrong, (rows, groups) each.
    groups = int(group.max()) + 1 if images else 0
    good, bad = (_summed(weights, part, groups) for part in (group[:images], group[images:]))
    # 3. A right sentence beats all wrong ones of lower groups and half of those of its own.
    below = np.cumsum(bad, axis=1) - bad
    with np.errstate(invalid="ignore"):
        return np.asarray((good * (below + bad / 2)).sum(1) / (good.sum(1) * bad.sum(1)))


def auc_interval(
    right: Array, wrong: Array, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float] | None:
    """Give the area and its 95 % bootstrap interval over images, 0..100; None of fewer than two images."""
    if len(right) < 2:
        return None
    values = auc(right, wrong, draw(len(right), resamples, seed))
    low, high = np.percentile(values, [2.5, 97.5])
    return 100 * float(auc(right, wrong)[0]), 100 * float(low), 100 * float(high)


def _summed(weights: Array, group: Array, groups: int) -> Array:
    """Sum the columns of ``weights`` by the group of their image, (rows, groups)."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups))
    sums = np.hstack([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1)])
    return np.diff(np.hstack([sums[:, starts], sums[:, -1:]]), axis=1)
