"""Confidence intervals and paired tests over images, for means and for corpus scores alike.

Images are drawn with replacement (bootstrap, Efron 1979); the paired test exchanges the two systems' outputs image by
image (approximate randomisation, Noreen 1989). Both only weigh each image's counts anew, so all scores of a resample,
combined ones too, come from the same images, and a thousand resamples are one matrix product.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vsd_utils.common.errors import VsdError
from vsd_utils.metrics.measure import Measure

Array = NDArray[Any]
Combine = Callable[[Mapping[str, Any]], Mapping[str, Any]]
RESAMPLES = 1000


class Comparison(NamedTuple):
    """``difference`` = first minus second, its 95 % bootstrap interval, and the two-sided p of exchanging them."""

    difference: float
    low: float
    high: float
    p: float


def draw(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """Draw each bootstrap resample and count how often each image is in it: float64 (resamples, images)."""
    generator = np.random.default_rng(seed)
    weights = np.empty((resamples, images))
    for row in range(resamples):
        weights[row] = np.bincount(generator.integers(0, images, images), minlength=images)
    return weights


def resample(measures: Mapping[str, Measure], weights: Array, combine: Combine | None = None) -> dict[str, Array]:
    """Score every resample by each measure, and by what ``combine`` makes of them all: (resamples,) each.

    ``weights`` (resamples, images) says how often each image counts.
    """
    # 1. The counts of all measures side by side, (images, columns), those that several share once.
    distinct = {id(measure.counts): measure.counts for measure in measures.values()}
    # 2. One product sums them for all resamples, (resamples, columns).
    edges = np.cumsum([counts.shape[1] for counts in distinct.values()])[:-1]
    sums = dict(zip(distinct, np.split(weights @ np.hstack(list(distinct.values())), edges, axis=1), strict=True))
    # 3. Each formula on its own columns.
    values = {key: measure.formula(sums[id(measure.counts)]) for key, measure in measures.items()}
    return _with(values, combine)


def intervals(
    measures: Mapping[str, Measure], combine: Combine | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Find the 95 % bootstrap interval of each measure and combination: its 2.5th and 97.5th percentile.

    All measures are over the same images in the same order. Of one image there is no interval: raises ``VsdError``.
    """
    if not measures:
        return {}
    images = _images(measures)
    if images < 2:
        raise VsdError("an interval over images needs at least two images, found one")
    values = resample(measures, draw(images, resamples, seed), combine)
    bounds = np.percentile(np.array(list(values.values())), [2.5, 97.5], axis=1)
    return {key: (float(low), float(high)) for key, low, high in zip(values, *bounds, strict=True)}


def compare(
    first: Mapping[str, Measure],
    second: Mapping[str, Measure],
    combine: Combine | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Comparison]:
    """Give difference, interval and p of every score that both systems have, over the same images in the same order.

    p = (1 + exchanges with a difference at least as large) / (1 + exchanges). Raises ``VsdError`` when the two do not
    cover the same number of images.
    """
    shared = [key for key in first if key in second]
    if not shared:
        return {}
    mine, other = ({key: side[key] for key in shared} for side in (first, second))
    images = _images(mine)
    if images != _images(other) or images < 2:
        raise VsdError(f"a paired test needs the same images, two at least; found {images} and {_images(other)}")
    # 1. The difference in each bootstrap resample, of which both systems get the same images: (resamples,).
    weights = draw(images, resamples, seed)
    drawn = _differences(resample(mine, weights, combine), resample(other, weights, combine))
    # 2. The difference over all images, (1,).
    observed = _differences(
        resample(mine, np.ones((1, images)), combine), resample(other, np.ones((1, images)), combine)
    )
    # 3. The difference where chance says, image by image, whose answer is whose: (resamples,).
    kept = np.random.default_rng(seed + 1).integers(0, 2, (resamples, images)).astype(np.float64)
    sums = [
        resample(_exchanged(mine, other, swap), weights_, combine) for swap, weights_ in ((False, kept), (True, kept))
    ]
    chance = _differences(*sums)
    # 4. How far the bootstrap strays, and how often chance does as well as the systems.
    comparisons = {}
    for key, difference in observed.items():
        low, high = np.percentile(drawn[key], [2.5, 97.5])
        # The slack keeps an exchange that changes nothing from looking smaller by a rounding error.
        extreme = int((np.abs(chance[key]) >= abs(difference[0]) - 1e-9).sum())
        comparisons[key] = Comparison(float(difference[0]), float(low), float(high), (1 + extreme) / (1 + resamples))
    return comparisons


def _exchanged(mine: Mapping[str, Measure], other: Mapping[str, Measure], swap: bool) -> dict[str, Measure]:
    """Measures whose weights say, image by image, whether a system keeps its own counts.

    kept @ (own - theirs) + sum of theirs = kept @ own + (1 - kept) @ theirs.
    """
    exchanged = {}
    made: dict[int, tuple[Array, Array]] = {}
    for key in mine:
        own, theirs = (other, mine) if swap else (mine, other)
        counts = own[key].counts
        if id(counts) not in made:
            made[id(counts)] = (counts - theirs[key].counts, theirs[key].counts.sum(0))
        change, total = made[id(counts)]
        exchanged[key] = Measure(change, _shifted(own[key].formula, total))
    return exchanged


def _shifted(formula: Callable[[Array], Array], total: Array) -> Callable[[Array], Array]:
    return lambda sums: formula(sums + total)


def _differences(first: Mapping[str, Array], second: Mapping[str, Array]) -> dict[str, Array]:
    return {key: np.asarray(first[key] - second[key]) for key in first if key in second}


def _with(values: dict[str, Array], combine: Combine | None) -> dict[str, Array]:
    combined = combine(values) if combine else {}
    return values | {key: value for key, value in combined.items() if value is not None}


def _images(measures: Mapping[str, Measure]) -> int:
    sizes = {len(measure.counts) for measure in measures.values()}
    if len(sizes) != 1:
        raise VsdError(f"scores over different numbers of images cannot be resampled together: {sorted(sizes)}")
    return sizes.pop()
