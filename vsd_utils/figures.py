"""The report's figures, drawn from scores and predictions; every one says below what it was made from."""

import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vsd_utils.files import replacing
from vsd_utils.relations import RELATIONS
from vsd_utils.samples import Sample
from vsd_utils.tables import SYSTEMS

# Okabe and Ito's colours, which readers with any colour vision tell apart.
COLOURS = {
    "base": "#999999",
    "lora": "#0072B2",
    "lora_refined": "#009E73",
    "majority": "#E69F00",
    "lora_blank_image": "#CC79A7",
}


@contextmanager
def default_look() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever matplotlibrc or style is in force outside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@default_look()
def relation_f1(systems: Mapping[str, Mapping[str, Any]]) -> Figure:
    """F1 of each relation, by system."""
    shown = {name: scores for name, scores in systems.items() if scores["task1"]["f1_per_relation"]}
    shown.pop("lora_refined", None)  # takes its labels from lora
    figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
    width = 0.8 / max(1, len(shown))
    for number, (name, scores) in enumerate(shown.items()):
        values = [scores["task1"]["f1_per_relation"][relation] or 0.0 for relation in RELATIONS]
        places = np.arange(len(RELATIONS)) + (number - (len(shown) - 1) / 2) * width
        axis.bar(places, values, width, color=COLOURS[name], label=SYSTEMS[name])
    axis.set(xticks=range(len(RELATIONS)), xticklabels=RELATIONS, ylabel="F1, 0 to 100", ylim=(0, 100))
    plt.setp(axis.get_xticklabels(), rotation=20, ha="right", rotation_mode="anchor")
    axis.legend(frameon=False, ncols=len(shown), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@default_look()
def confusion(scores: Mapping[str, Any], title: str) -> Figure:
    """Task 1: annotated relations against predicted ones, in triples; shade is the share of the row."""
    counts = np.array(scores["task1"]["confusion"])
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, axis = plt.subplots(figsize=(6.4, 5.2), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(counts):
        colour = "white" if shares[row, column] > 0.5 else "black"
        axis.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8)
    axis.set(
        xticks=range(counts.shape[1]),
        yticks=range(len(RELATIONS)),
        xticklabels=[*RELATIONS, "no answer"][: counts.shape[1]],
        yticklabels=RELATIONS,
        xlabel="predicted",
        ylabel="annotated",
        title=title,
    )
    plt.setp(axis.get_xticklabels(), rotation=45, ha="right", rotation_mode="anchor")
    return figure


@default_look()
def losses(folder: Path) -> Figure:
    """Training and validation loss, from what DVCLive logged below ``folder``."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    styles: dict[str, dict[str, Any]] = {
        "training": {"lw": 1, "color": "0.6"},
        "validation": {"marker": "o", "ms": 4, "color": "#0072B2"},
    }
    for split, label in (("train", "training"), ("val", "validation")):
        path = folder / "plots" / "metrics" / split / "loss.tsv"
        if path.is_file():
            curve = pd.read_csv(path, sep="\t")
            axis.plot(curve["step"], curve["loss"], label=label, **styles[label])
    axis.set(xlabel="step", ylabel="loss of the answer's tokens", yscale="log")
    axis.legend(frameon=False)
    return figure


@default_look()
def refinement(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> Figure:
    """Task 3 of the images that were rewritten, before and after: diversity and correctness, means with 95 % intervals.

    ``before`` and ``after`` are the per-image scores of the same images; scores that were not computed say so.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
    keys = {
        "mbleu4_by_sentence": "mBLEU-4 by sentence\n(lower is more diverse)",
        "spice": "SPICE",
        "relation_in_sentence": "relation in sentence, %",
    }
    for axis, (key, label) in zip(axes, keys.items(), strict=True):
        for place, (name, items) in enumerate((("lora", before), ("lora_refined", after))):
            values = np.array([np.mean(item["task3"][key]) for item in items if item["task3"].get(key) is not None])
            if not len(values):
                axis.text(place, 0.05, "not\ncomputed", ha="center", transform=axis.get_xaxis_transform())
                continue
            error = 1.96 * values.std() / len(values) ** 0.5
            axis.bar(place, values.mean(), 0.6, yerr=error, color=COLOURS[name], capsize=4)
            axis.text(place, values.mean() + error + 1, f"{values.mean():.1f}", ha="center", va="bottom", fontsize=9)
        axis.set(xticks=(0, 1), xticklabels=("before", "after"), title=label, ylim=(0, 115), xlim=(-0.6, 1.6))
        axis.title.set_fontsize(10)
    return figure


@default_look()
def spice_and_relation(systems: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Task 2, each image: SPICE of sentences that state the annotated relation, and of those that do not."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    groups, labels = [], []
    for name, items in systems.items():
        rows = [item["task2"] for item in items if item.get("task2") and item["task2"].get("spice")]
        for stated in (True, False):
            values = [r["spice"][0] for r in rows if bool(r["relation_in_sentence"][0]) is stated]
            groups.append(values or [np.nan])
            labels.append(f"{SYSTEMS[name]}\n{'relation stated' if stated else 'not stated'}\nn = {len(values)}")
    axis.boxplot(groups, orientation="vertical", widths=0.5, medianprops={"color": "#0072B2"}, flierprops={"ms": 2})
    axis.set(xticks=range(1, len(labels) + 1), xticklabels=labels, ylabel="SPICE of a sentence")
    return figure


@default_look()
def examples(
    samples: Sequence[Sample],
    items: Mapping[str, Mapping[str, Any]],
    refined: Mapping[str, Mapping[str, Any]],
    chosen: Mapping[str, Sequence[str]],
    folder: Path,
) -> Figure:
    """A grid of test images: one row for each group of ``chosen`` ("best", "worst", "random": image ids).

    ``items`` and ``refined`` are the per-image scores of the adapter and of its refined sentences, by image id.
    """
    by_id = {sample.id: sample for sample in samples}
    columns = max(len(ids) for ids in chosen.values())
    figure, axes = plt.subplots(
        len(chosen), columns, figsize=(3.3 * columns, 4.7 * len(chosen)), layout="constrained", squeeze=False
    )
    for row, (group, ids) in zip(axes, chosen.items(), strict=True):
        for place, axis in enumerate(row):
            axis.axis("off")
            if place < len(ids):
                example(axis, by_id[ids[place]], items[ids[place]], refined[ids[place]], folder)
        row[0].set_title(f"{group}\n{row[0].get_title()}", loc="center", fontsize=9)
    return figure


def example(axis: Axes, sample: Sample, item: Mapping[str, Any], refined: Mapping[str, Any], folder: Path) -> None:
    """One test image with its pair, references, predictions and scores."""
    pair, first = sample.triples[0], item["task1"][0]
    with Image.open(folder / pair.image) as image:
        axis.imshow(image.convert("RGB"))
    sign = "right" if first["correct"] else f"wrong, {first['gold']}"
    axis.set_title(f"{pair.subject} / {pair.object}: {first['predicted'] or 'no answer'} ({sign})", fontsize=8)
    spice = item["task2"].get("spice")
    lines = [
        f"v1: {sample.captions_v1[0]}",
        f"v2: {sample.captions_v2[0]}",
        f"task 2{f' (SPICE {spice[0]:.0f})' if spice else ''}: {item['task2']['sentences'][0]}",
        *(f"task 3: {sentence}" for sentence in item["task3"]["sentences"]),
    ]
    if refined["task3"]["sentences"] != item["task3"]["sentences"]:
        lines += [f"refined: {sentence}" for sentence in refined["task3"]["sentences"]]
    text = "\n".join(textwrap.fill(line, 54, subsequent_indent="    ") for line in lines)
    axis.text(0.0, -0.03, text, transform=axis.transAxes, va="top", fontsize=6.5)


@default_look()
def save(figure: Figure, name: str, note: str, folder: Path) -> None:
    """Write ``<folder>/<name>.png`` with ``note`` in small print below the figure.

    256 colours are enough for charts and photos of this size, and keep the files small in git.
    """
    width = int(figure.get_figwidth() * 22)
    figure.supxlabel(textwrap.fill(note, width), fontsize=6, color="0.4", x=0.01, ha="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    with replacing(folder / f"{name}.png") as temporary, Image.open(buffer) as drawn:
        drawn.convert("RGB").quantize(256).save(temporary, format="png", optimize=True)
    plt.close(figure)
