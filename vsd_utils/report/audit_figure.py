"""The audit's figure: how well each metric tells people's captions from copies with one thing wrong."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from vsd_utils.report.figures import default_look

_CHANCE = 50.0


@default_look()
def draw_areas(areas: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """Draw the area under the ROC curve and its 95 % interval, in %: a panel for each edit, a line for each metric.

    ``areas`` has by edit and metric the value and both ends of its interval; chance, 50, is drawn as a line.
    """
    metrics = list(dict.fromkeys(name for of_edit in areas.values() for name in of_edit))
    width, height = 2.0 * len(areas) + 1.4, 0.27 * len(metrics) + 0.8
    figure, axes = plt.subplots(1, len(areas), figsize=(width, height), layout="constrained", sharey=True)
    for axis, (edit, of_edit) in zip(axes, areas.items(), strict=True):
        axis.axvline(_CHANCE, color="0.7", lw=1, ls="--")
        for name, (value, low, high) in of_edit.items():
            place = metrics.index(name)
            axis.plot([low, high], [place, place], color="C0", lw=1.5)
            axis.plot(value, place, "o", color="C0", ms=5)
        axis.set(title=edit, xlim=(38, 102), xticks=(50, 75, 100), yticks=range(len(metrics)), yticklabels=metrics)
        axis.title.set_fontsize(10)
        axis.grid(axis="y", color="0.92")
        axis.set_axisbelow(True)
    axes[0].invert_yaxis()  # shared, so of all
    axes[len(axes) // 2].set_xlabel("area under the ROC curve, in %; 50 is chance", fontsize=9)
    return figure
