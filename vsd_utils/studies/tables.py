"""The runs of a study as tables: scores, differences from the reference variant, and what each variant cost.

Two kinds of chance stay apart. The *interval over images* is that of the mean over seeds, of which each bootstrap
resample takes the same images in every run. The *spread over seeds* is the standard deviation of the runs of a variant,
with one less than their number below the line. The paired test is about images: the difference of the means, divided by
its bootstrap standard error, as normal, so that p is not bounded by the number of resamples. Over all variants and
scores of a table p is corrected by Holm (1979). The report's own test, of two systems of one run, exchanges answers
image by image, for which the answers themselves are needed; here their resampled scores are kept.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsd_utils.common.errors import VsdError
from vsd_utils.metrics.measure import Array
from vsd_utils.studies.plan import Run, Study
from vsd_utils.studies.question import REFINED
from vsd_utils.studies.run_scores import resampled

Records = Mapping[str, Mapping[str, Any]]  # by digest, as run_scores.py writes them
SIGNIFICANT = 0.05
PLACES = "box edges told right, %"
REWRITTEN = "rewrites accepted, % of images"
_NOTHING = 1e-3  # resampled scores are kept to three digits


class VariantScore(NamedTuple):
    """A score of a variant: of each seed (seeds,), and of their mean in each resample (resamples,).

    ``seeds`` is one value for the untuned base model, whose answers no seed changes.
    """

    seeds: Array
    drawn: Array

    @property
    def mean(self) -> float:
        """Average over seeds."""
        return float(self.seeds.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Give the 95 % bootstrap interval of the mean over images."""
        low, high = np.percentile(self.drawn, [2.5, 97.5])
        return float(low), float(high)

    @property
    def spread(self) -> float | None:
        """Give the standard deviation over seeds; None of one."""
        return float(self.seeds.std(ddof=1)) if len(self.seeds) > 1 else None


class Difference(NamedTuple):
    """Variant minus reference, its 95 % interval over images, and two-sided p, as it is and after Holm."""

    value: float
    low: float
    high: float
    p: float
    corrected: float


def variant_scores(study: Study, runs: Sequence[Run], records: Records) -> dict[str, dict[str, VariantScore]]:
    """Collect the study's scores by variant and score; a score that was not computed is left out.

    Raises ``VsdError`` where runs were not scored on the same images, which nothing could be compared on.
    """
    for run in runs:
        if run.system not in records[run.digest]["images"]:
            raise VsdError(f"study {study.name}, variant {run.variant!r}: its runs have no answers of {run.system}")
    if len({tuple(records[run.digest]["images"][run.system]) for run in runs}) > 1:
        raise VsdError(f"study {study.name}: its variants answered about different images, and cannot be compared")
    found: dict[str, dict[str, VariantScore]] = {}
    for variant in study.variants:
        values = [records[run.digest]["systems"][run.system] for run in runs if run.variant == variant]
        if not tuned(study, variant):
            values = values[:1]
        found[variant] = {
            score: VariantScore(
                np.array([value[score]["value"] for value in values]),
                np.mean([resampled(value[score]) for value in values], axis=0),
            )
            for score in study.scores
            if all(score in value for value in values)
        }
    return found


def differences(study: Study, scores: Mapping[str, Mapping[str, VariantScore]]) -> dict[tuple[str, str], Difference]:
    """Test every variant against the reference in every score, by (variant, score)."""
    raw = {}
    for variant, by_score in scores.items():
        for score, own in by_score.items():
            if variant == study.reference or score not in scores[study.reference]:
                continue
            reference = scores[study.reference][score]
            drawn = own.drawn - reference.drawn
            low, high = np.percentile(drawn, [2.5, 97.5])
            p = two_sided(own.mean - reference.mean, float(drawn.std(ddof=1)))
            raw[variant, score] = Difference(own.mean - reference.mean, float(low), float(high), p, p)
    corrected = holm([difference.p for difference in raw.values()])
    return {key: one._replace(corrected=p) for (key, one), p in zip(raw.items(), corrected, strict=True)}


def two_sided(difference: float, standard_error: float) -> float:
    """Give the chance that a normal difference with mean 0 is at least as large, either way: 0..1."""
    if standard_error < _NOTHING:
        return float(abs(difference) < _NOTHING)
    return math.erfc(abs(difference) / standard_error / math.sqrt(2))


def tuned(study: Study, variant: str) -> bool:
    """Tell whether a variant's answers come from a model that was tuned."""
    return study.variants[variant].system != "base"


def holm(values: Sequence[float]) -> list[float]:
    """Correct n p values (Holm 1979): the k-th smallest is taken n - k + 1 times; never falling, at most 1."""
    order = np.argsort(values, kind="stable")
    steps = np.asarray(values, dtype=float)[order] * (len(values) - np.arange(len(values)))
    result = np.empty(len(values))
    result[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(values) else steps
    return [float(value) for value in result]


def score_table(study: Study, scores: Mapping[str, Mapping[str, VariantScore]]) -> pd.DataFrame:
    """Show for each variant mean, interval over images and spread over seeds of each score."""
    rows = {
        variant: {score: _shown(by_score.get(score)) for score in study.scores} for variant, by_score in scores.items()
    }
    return _frame(rows)


def difference_table(study: Study, tested: Mapping[tuple[str, str], Difference]) -> pd.DataFrame:
    """Show each difference from the reference with its interval and p after Holm; a star where that is below 0.05."""
    rows: dict[str, dict[str, str]] = {variant: {} for variant in study.variants if variant != study.reference}
    for (variant, score), one in tested.items():
        star = " *" if one.corrected < SIGNIFICANT else ""
        p = "p < 0.001" if one.corrected < 0.001 else f"p {one.corrected:.3f}"
        rows[variant][score] = f"{one.value:+.1f} [{one.low:+.1f}, {one.high:+.1f}], {p}{star}"
    return _frame(rows).fillna("")


def cost_table(study: Study, runs: Sequence[Run], records: Records) -> pd.DataFrame:
    """Show by variant trained numbers, size of the adapter, and time and memory of each stage that its runs made.

    And in how many images rewrites were accepted, what a server with prices takes at most, and what fine-tuning left of
    the base model's own skill, where that was measured. Seconds are the mean over the runs that made the stage, empty
    where none did, and where a row's answers do without it.
    """
    rows: dict[str, dict[str, str]] = {}
    stages = ["finetune", "describe", *(["refine"] if study.last_stage == "refine" else [])]
    for variant in study.variants:
        own = [records[run.digest] for run in runs if run.variant == variant]
        is_tuned, is_refined = tuned(study, variant), study.variants[variant].system in REFINED
        row = {
            "trained numbers": f"{own[0]['adapter']['parameters']:,}" if is_tuned else "0",
            "adapter, MB": f"{own[0]['adapter']['bytes'] / 1e6:.2f}" if is_tuned else "",
        }
        for stage in stages:
            counts = is_refined if stage == "refine" else is_tuned
            made = [record["cost"][stage] for record in own if stage in record["cost"]] if counts else []
            row[f"{stage}, s"] = f"{np.mean([one['seconds'] for one in made]):.0f}" if made else ""
            row[f"{stage}, GiB"] = f"{max(one['peak_gib'] for one in made):.1f}" if made else ""
        if is_refined and all("rewriting" in record for record in own):
            row |= _rewriting([record["rewriting"] for record in own])
        if all("places" in record for record in own):
            left = [record["places"]["lora" if is_tuned else "base"] for record in own]
            row[PLACES] = f"{np.mean(left):.1f}" + (f" ± {np.std(left, ddof=1):.1f}" if is_tuned else "")
        rows[variant] = row
    return _frame(rows).fillna("")


def _rewriting(of_runs: Sequence[Mapping[str, float]]) -> dict[str, str]:
    shares = [100 * one["rewritten"] / one["given"] for one in of_runs]
    shown = {REWRITTEN: f"{np.mean(shares):.1f} ± {np.std(shares, ddof=1):.1f}"}
    prices = [one["dollars"] for one in of_runs if "dollars" in one]
    return shown | ({"dollars a run, at most": f"{np.mean(prices):.2f}"} if prices else {})


def _shown(score: VariantScore | None) -> str:
    if score is None:
        return ""
    low, high = score.interval
    spread = "" if score.spread is None else f" ± {score.spread:.1f}"
    return f"{score.mean:.1f} [{low:.1f}, {high:.1f}]{spread}"


def _frame(rows: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows)))
    frame.index.name = "variant"
    return frame
