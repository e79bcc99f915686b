"""What each factor of a multiverse does to each outcome, told from sixteen runs, as tables and a figure.

An effect is the mean outcome of the eight runs at a factor's second level minus that of the eight at its first. Fifteen
such contrasts share out all variance between the runs: those of the factors, and those that are left. Where few effects
are real, the size of most says how large seeds and small effects are: an effect beyond Lenth's simultaneous margin of
error (Technometrics 31, 1989) has a star, by chance in no more than one of twenty studies. All of it is about the
test images that were asked; another draw of images is another table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t as student

from vsd_utils.common.errors import VsdError
from vsd_utils.metrics.measure import Array
from vsd_utils.report.figures import default_look
from vsd_utils.report.systems import SYSTEMS
from vsd_utils.studies.multiverse import RUNS, Multiverse, Outcome, design
from vsd_utils.studies.plan import Run
from vsd_utils.studies.run_scores import resampled

LEFT_OVER = "all else: factors together, seeds"


class Effects(NamedTuple):
    """An outcome's value in each run (runs,) with both ends of its 95 % interval over images (runs,) each.

    ``contrasts`` (15,) are the effects, the factors' first; ``shares`` (15,) the parts of the variance between runs
    that each explains, 0..1; ``margin`` is Lenth's simultaneous margin of error of an effect, None where most are 0.
    """

    values: Array
    low: Array
    high: Array
    contrasts: Array
    shares: Array
    margin: float | None

    def beyond(self, place: int) -> bool:
        """Tell whether an effect is larger than the margin."""
        return self.margin is not None and abs(self.contrasts[place]) > self.margin


def effects(study: Multiverse, runs: Sequence[Run], records: Mapping[str, Mapping[str, Any]]) -> dict[str, Effects]:
    """Work out every outcome; raises ``VsdError`` where runs answered about different images or lack a score."""
    made = [records[run.digest] for run in runs]
    found = {}
    for name, outcome in study.outcomes.items():
        systems = [system for system in (outcome.of, outcome.above) if system]
        if len({tuple(record["images"].get(system, ())) for record in made for system in systems}) > 1:
            raise VsdError(
                f"study {study.name}, outcome {name!r}: of different images, or of systems that are not there"
            )
        if absent := [run.variant for run, record in zip(runs, made, strict=True) if not _has(record, outcome)]:
            raise VsdError(f"study {study.name}, outcome {name!r}: {absent[0]} has no {outcome.score}")
        scored = [_scored(record, outcome) for record in made]
        values = np.array([value for value, _ in scored])
        low, high = np.percentile(np.array([drawn for _, drawn in scored]), [2.5, 97.5], axis=1)
        contrasts = contrasts_of(values)
        squares = contrasts**2
        shares = squares / squares.sum() if squares.sum() else squares
        found[name] = Effects(values, low, high, contrasts, shares, lenth_margin(contrasts))
    return found


def contrasts_of(values: Array) -> Array:
    """Give the fifteen effects, (15,), of an outcome's values in the sixteen runs, (16,)."""
    return np.asarray(design().T @ values * 2 / RUNS)


def lenth_margin(contrasts: Array) -> float | None:
    """Give Lenth's simultaneous margin of error: how large the largest may be by chance, at 95 %, if few are real.

    None where so many are 0 that nothing can be told.
    """
    sizes = np.abs(contrasts)
    first = 1.5 * np.median(sizes)
    kept = sizes[sizes < 2.5 * first]
    if not len(kept) or not np.median(kept):
        return None
    quantile = student.ppf((1 + 0.95 ** (1 / len(contrasts))) / 2, len(contrasts) / 3)
    return float(quantile * 1.5 * np.median(kept))


def effect_table(study: Multiverse, found: Mapping[str, Effects]) -> pd.DataFrame:
    """Show each factor's effect on each outcome and its share of the variance; then what is left, and the outcomes."""
    rows: dict[str, dict[str, str]] = {}
    for place, (factor, levels) in enumerate(study.factors.items()):
        rows[factor] = {"from, to": " → ".join(levels)}
        for name, one in found.items():
            star = " *" if one.beyond(place) else ""
            rows[factor][name] = f"{one.contrasts[place]:+.1f} ({100 * one.shares[place]:.0f} %){star}"
    count = len(study.factors)
    rows[LEFT_OVER] = {name: f"({100 * one.shares[count:].sum():.0f} %)" for name, one in found.items()}
    rows["an effect that may be chance, up to"] = {
        name: "" if one.margin is None else f"{one.margin:.1f}" for name, one in found.items()
    }
    rows["mean of the runs [least, most]"] = {
        name: f"{one.values.mean():.1f} [{one.values.min():.1f}, {one.values.max():.1f}]" for name, one in found.items()
    }
    rows["above 0; with its interval, in so many runs"] = {
        name: f"{(one.values > 0).sum()}; {(one.low > 0).sum()} of {RUNS}"
        for name, one in found.items()
        if study.outcomes[name].above
    }
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="factor"))
    return frame.fillna("")


def run_table(
    study: Multiverse, runs: Sequence[Run], found: Mapping[str, Effects], records: Mapping[str, Mapping[str, Any]]
) -> pd.DataFrame:
    """Show each run's levels, seed and outcomes with their 95 % intervals over images, and over how many images."""
    rows = []
    for place, (run, levels) in enumerate(zip(runs, study.levels(), strict=True)):
        row = {"run": run.variant.removeprefix("run "), **levels, "seed": str(run.seed)}
        for name, one in found.items():
            count = records[run.digest]["images"][study.outcomes[name].of][0]
            row[f"{name}, {count} images"] = f"{one.values[place]:.1f} [{one.low[place]:.1f}, {one.high[place]:.1f}]"
        rows.append(row)
    return pd.DataFrame(rows)


@default_look()
def draw(study: Multiverse, found: Mapping[str, Effects]) -> Figure:
    """Draw each factor's effect, a panel an outcome; grey is what chance may do."""
    names = list(study.factors)
    figure, axes = plt.subplots(
        1,
        len(found),
        figsize=(1.8 + 2.4 * len(found), 0.9 + 0.32 * len(names)),
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for axis, (outcome, one) in zip(axes[0], found.items(), strict=True):
        if one.margin is not None:
            axis.axvspan(-one.margin, one.margin, color="0.92", zorder=0)
        axis.axvline(0, color="0.6", lw=0.8)
        own = one.contrasts[: len(names)]
        colours = [SYSTEMS["lora"].colour if one.beyond(place) else "0.4" for place in range(len(names))]
        axis.hlines(range(len(names)), 0, own, colors=colours, lw=2)
        axis.scatter(own, range(len(names)), c=colours, s=30, zorder=3)
        axis.set(title=outcome, yticks=range(len(names)), yticklabels=names)
        axis.title.set_fontsize(9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].invert_yaxis()
    return figure


def _has(record: Mapping[str, Any], outcome: Outcome) -> bool:
    systems = record["systems"]
    return all(outcome.score in systems.get(system, {}) for system in (outcome.of, outcome.above) if system)


def _scored(record: Mapping[str, Any], outcome: Outcome) -> tuple[float, Array]:
    """Give an outcome in a run, and in each of its resamples of images, (resamples,)."""
    of = record["systems"][outcome.of][outcome.score]
    if outcome.above is None:
        return of["value"], resampled(of)
    above = record["systems"][outcome.above][outcome.score]
    return of["value"] - above["value"], resampled(of) - resampled(above)
