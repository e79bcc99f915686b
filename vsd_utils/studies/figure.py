"""A study drawn: each variant's score with its interval over images, and the runs of single seeds as dots."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vsd_utils.report.figures import default_look
from vsd_utils.report.systems import SYSTEMS
from vsd_utils.studies.plan import Study
from vsd_utils.studies.tables import VariantScore


@default_look()
def draw(study: Study, scores: Mapping[str, Mapping[str, VariantScore]]) -> Figure:
    """Draw one panel a score, variants from top to bottom; a line goes down from the reference variant."""
    shown = [score for score in study.scores if any(score in by_score for by_score in scores.values())]
    size = (1.8 + 2.4 * max(1, len(shown)), 0.9 + 0.32 * len(scores))
    figure, axes = plt.subplots(1, max(1, len(shown)), figsize=size, sharey=True, layout="constrained", squeeze=False)
    names = list(scores)
    for axis, score in zip(axes[0], shown, strict=False):
        for place, variant in enumerate(names):
            found = scores[variant].get(score)
            if found is None:
                continue
            low, high = found.interval
            colour = SYSTEMS["lora"].colour if variant == study.reference else "0.25"
            axis.plot([low, high], [place, place], color=colour, lw=2, solid_capstyle="butt")
            axis.plot(found.mean, place, "o", color=colour, ms=6)
            if found.spread is not None:
                axis.plot(found.seeds, [place + 0.22] * len(found.seeds), ".", color="0.6", ms=5)
        if score in scores[study.reference]:
            axis.axvline(scores[study.reference][score].mean, color=SYSTEMS["lora"].colour, lw=0.8, ls=":", zorder=0)
        axis.set(title=score, yticks=range(len(names)), yticklabels=names)
        axis.title.set_fontsize(9)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].invert_yaxis()
    return figure
