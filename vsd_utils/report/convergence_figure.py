"""The figure of how answers get better while a model is trained."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from vsd_utils.report.figures import default_look
from vsd_utils.report.tables import MAIN

_COLUMNS = 4


@default_look()
def draw_convergence(steps: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw each headline score over the training's steps with its 95 % interval, 0 to 100, a panel for each.

    ``steps`` has the scores by step. A score that was not computed has no point, or, at no step, a word that says so.
    """
    rows = -(-len(MAIN) // _COLUMNS)
    figure, axes = plt.subplots(
        rows, _COLUMNS, figsize=(10, 2.2 * rows), layout="constrained", sharex=True, sharey=True, squeeze=False
    )
    for axis, (name, (task, score)) in zip(axes.flat, MAIN.items(), strict=True):
        found = {int(step): scores for step, scores in steps.items() if scores[task][score] is not None}
        values = np.array([scores[task][score] for scores in found.values()])
        bounds = [
            scores["intervals"].get(task, {}).get(score, (value, value))
            for scores, value in zip(found.values(), values, strict=True)
        ]
        low, high = np.array(bounds).reshape(-1, 2).T
        axis.fill_between(list(found), low, high, color="C0", alpha=0.2, lw=0)
        axis.plot(list(found), values, "o-", color="C0", ms=4)
        if not found:
            axis.text(0.5, 0.5, "not computed", transform=axis.transAxes, ha="center", va="center", color="0.5")
        axis.set(title=name, ylim=(0, 100))
        axis.title.set_fontsize(10)
        axis.grid(color="0.92")
    for axis in axes[-1]:
        axis.set_xlabel("training step", fontsize=9)
    return figure
