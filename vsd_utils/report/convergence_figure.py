"""The figure of how answers get better while a model is trained."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vsd_utils.report.figures import default_look


@default_look()
def draw_convergence(curves: Mapping[str, Mapping[int, tuple[float, float, float]]]) -> Figure:
    """Draw each score over the training's steps with its 95 % interval, 0 to 100, a panel for each.

    ``curves`` has by score and step the value and both ends of its interval.
    """
    columns = 3
    rows = -(-len(curves) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(9, 2.2 * rows), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for axis, (name, by_step) in zip(axes.flat, curves.items(), strict=False):
        values, low, high = np.array(list(by_step.values())).T
        axis.fill_between(list(by_step), low, high, color="C0", alpha=0.2, lw=0)
        axis.plot(list(by_step), values, "o-", color="C0", ms=4)
        axis.set(title=name, ylim=(0, 100))
        axis.title.set_fontsize(10)
        axis.grid(color="0.92")
    for axis in axes.flat[len(curves) :]:
        axis.set_visible(False)
    for axis in axes[-1]:
        axis.set_xlabel("training step", fontsize=9)
    return figure
