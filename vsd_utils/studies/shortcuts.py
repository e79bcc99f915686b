"""What a model's answers lean on: scenes as drawn against the same with a cue changed, as a table and a figure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from vsd_utils.data.annotations import Item
from vsd_utils.metrics.bootstrap import Comparison, compare, intervals
from vsd_utils.metrics.measure import Array, Measure, mean_measure
from vsd_utils.report.figures import default_look
from vsd_utils.report.systems import SYSTEMS
from vsd_utils.studies.tables import holm

ALL = "all"
_PAD = 0.12  # inches; less cuts the first titles
_TESTED = "lora"
_HIDDEN = "hidden, %: as drawn, changed"
_DIFFERENCE = f"{SYSTEMS[_TESTED].label}, difference"
_INSTEAD = f"{SYSTEMS[_TESTED].label}, changed: named instead"
Answers = Mapping[tuple[str, int], str]  # by cue (or "as drawn") and number of the scene: the relation named


class Pictured(NamedTuple):
    """Hold a picture as the model is shown it, and what is written above it."""

    picture: Image.Image
    text: str


def table(
    sets: Mapping[str, Mapping[int, Item]],
    hidden: Mapping[str, Mapping[int, float]],
    as_drawn: str,
    answers: Mapping[str, Sequence[Answers]],
    seed: int,
) -> pd.DataFrame:
    """Show by cue and relation each system's accuracy in %, as drawn and changed, on the same scenes.

    ``sets``, ``hidden`` (shares) and ``answers`` (by system, of each training of it) have the scenes as drawn under
    ``as_drawn``, all others by cue. Accuracies are means over trainings, with their standard deviation. The relation of
    a row is that of the scene as drawn: of the cue "order" the inverse is asked for. Beside + LoRA's accuracies stand
    their difference with its 95 % bootstrap interval over scenes, p of the paired test after Holm over the relations'
    rows, and the wrong relation that is named most where the cue is changed.
    """
    rows: list[dict[str, str]] = []
    tested: list[tuple[int, Comparison]] = []
    for cue in (name for name in sets if name != as_drawn):
        by_relation: dict[str, list[int]] = {ALL: list(sets[cue])}
        for number in sets[cue]:
            by_relation.setdefault(sets[as_drawn][number].triple_list[0].p, []).append(number)
        for relation, numbers in by_relation.items():
            row = {"cue": cue, "relation, as drawn": relation, "scenes": f"{len(numbers):,}"}
            shares = [100 * float(np.median([hidden[name][number] for number in numbers])) for name in (as_drawn, cue)]
            row[_HIDDEN] = "{:.0f}, {:.0f}".format(*shares) if any(shares) and relation != ALL else ""
            for system, trainings in answers.items():
                before, after = (_right(sets[name], trainings, name, numbers) for name in (as_drawn, cue))
                label = SYSTEMS[system].label
                row[f"{label}, as drawn"] = _shown(before, seed)
                row[f"{label}, changed"] = _shown(after, seed)
                if system == _TESTED:
                    changed, unchanged = ({"it": _over_trainings(right)} for right in (after, before))
                    found = compare(changed, unchanged, seed=seed)["it"]
                    row[_DIFFERENCE] = f"{found.difference:+.1f} [{found.low:+.1f}, {found.high:+.1f}]"
                    row[_INSTEAD] = _instead(sets[cue], trainings, cue, numbers)
                    if relation != ALL:
                        tested.append((len(rows), found))
            rows.append(row)
    for (place, _), p in zip(tested, holm([found.p for _, found in tested]), strict=True):
        rows[place][_DIFFERENCE] += f", p {p:.3f}"
    return pd.DataFrame(rows)


@default_look()
def draw(rows: Sequence[Sequence[Pictured]]) -> Figure:
    """Draw scenes in rows: first as drawn, then with each cue changed."""
    columns = max(map(len, rows))
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(2.9 * columns, 2.75 * len(rows)),
        layout=ConstrainedLayoutEngine(h_pad=_PAD),
        squeeze=False,
    )
    for axis in axes.flat:
        axis.axis("off")
    for line, shown in zip(axes, rows, strict=True):
        for axis, one in zip(line, shown, strict=False):
            axis.imshow(np.asarray(one.picture))
            axis.set_title(one.text, fontsize=8, loc="left")
    return figure


def _right(items: Mapping[int, Item], trainings: Sequence[Answers], cue: str, numbers: Sequence[int]) -> Array:
    """Tell of each training and scene whether it was right: (trainings, scenes)."""
    return np.array([[named[cue, n] == items[n].triple_list[0].p for n in numbers] for named in trainings], float)


def _over_trainings(right: Array) -> Measure:
    return mean_measure(right.mean(0).tolist())


def _shown(right: Array, seed: int) -> str:
    measure = _over_trainings(right)
    low, high = intervals({"it": measure}, seed=seed)["it"]
    spread = f" ± {100 * np.std(right.mean(1), ddof=1):.1f}" if len(right) > 1 else ""
    return f"{measure.value:.1f} [{low:.1f}, {high:.1f}]{spread}"


def _instead(items: Mapping[int, Item], trainings: Sequence[Answers], cue: str, numbers: Sequence[int]) -> str:
    answers = [(named[cue, n], items[n].triple_list[0].p) for named in trainings for n in numbers]
    wrong = Counter(said for said, relation in answers if said != relation)
    if not wrong:
        return ""
    relation, count = wrong.most_common(1)[0]
    return f"{relation} {100 * count / len(answers):.0f} %"
