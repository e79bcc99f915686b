"""The report's figures, drawn from scores and predictions; every one says below what it was made from."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from vsd_utils.common.files import replacing
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.samples import Sample
from vsd_utils.report.systems import SYSTEMS, labels

_DPI = 110
_BLUE = SYSTEMS["lora"].colour
_COLUMN = 3.3  # inches, of the grid of examples
_TITLE_SIZE, _TEXT_SIZE, _NOTE_SIZE = 8, 6.5, 6  # points


@contextmanager
def default_look() -> Iterator[None]:
    """Draw with matplotlib's own defaults, whatever matplotlibrc or style is in force outside."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


@default_look()
def relation_f1(systems: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw F1 of each relation, by system."""
    shown = {name: scores for name, scores in systems.items() if scores["task1"]["f1_per_relation"]}
    shown.pop("lora_refined", None)  # takes its labels from lora
    names = labels(systems)
    figure, axis = plt.subplots(figsize=(9, 3.2), layout="constrained")
    width = 0.8 / max(1, len(shown))
    for number, (name, scores) in enumerate(shown.items()):
        values = [scores["task1"]["f1_per_relation"][relation] or 0.0 for relation in RELATIONS]
        places = np.arange(len(RELATIONS)) + (number - (len(shown) - 1) / 2) * width
        axis.bar(places, values, width, color=SYSTEMS[name].colour, label=names[name])
    axis.set(xticks=range(len(RELATIONS)), xticklabels=RELATIONS, ylabel="F1, 0 to 100", ylim=(0, 100))
    plt.setp(axis.get_xticklabels(), rotation=20, ha="right", rotation_mode="anchor")
    axis.legend(frameon=False, ncols=len(shown), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


@default_look()
def confusion(scores: Mapping[str, Any], title: str) -> Figure:
    """Draw annotated relations against predicted ones, in triples; shade is the share of the row."""
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
    """Draw training and validation loss, from what DVCLive logged below ``folder``."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    styles: dict[str, dict[str, Any]] = {
        "training": {"lw": 1, "color": "0.6"},
        "validation": {"marker": "o", "ms": 4, "color": _BLUE},
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
def refinement(systems: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw diversity and correctness before and after the refiner, of the images given to it, with 95 % intervals.

    Values and intervals are those of the tables; scores that were not computed say so.
    """
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
    keys = {
        "mbleu4_by_sentence": "mBLEU-4 by sentence\n(lower is more diverse)",
        "spice": "SPICE",
        "relation_in_sentence": "relation in sentence, %",
    }
    before = "lora_given_to_refiner" if "lora_given_to_refiner" in systems else "lora"
    for axis, (key, label) in zip(axes, keys.items(), strict=True):
        for place, name in enumerate((before, "lora_refined")):
            value = systems[name]["task3"][key]
            if value is None:
                axis.text(place, 0.05, "not\ncomputed", ha="center", transform=axis.get_xaxis_transform())
                continue
            low, high = systems[name]["intervals"].get("task3", {}).get(key, (value, value))
            error = [[max(0.0, value - low)], [max(0.0, high - value)]]
            axis.bar(place, value, 0.6, yerr=error, color=SYSTEMS[name].colour, capsize=4)
            axis.text(place, max(value, high) + 1, f"{value:.1f}", ha="center", va="bottom", fontsize=9)
        axis.set(xticks=(0, 1), xticklabels=("before", "after"), title=label, ylim=(0, 115), xlim=(-0.6, 1.6))
        axis.title.set_fontsize(10)
    return figure


@default_look()
def spice_and_relation(systems: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Draw each image's SPICE in task 2, of sentences that state the annotated relation, and of those that do not."""
    figure, axis = plt.subplots(figsize=(7, 3), layout="constrained")
    groups, ticks = [], []
    for name, items in systems.items():
        rows = [item["task2"] for item in items if item.get("task2") and item["task2"].get("spice")]
        for stated in (True, False):
            values = [r["spice"][0] for r in rows if bool(r["relation_in_sentence"][0]) is stated]
            groups.append(values or [np.nan])
            ticks.append(f"{SYSTEMS[name].label}\n{'relation stated' if stated else 'not stated'}\nn = {len(values)}")
    axis.boxplot(groups, orientation="vertical", widths=0.5, medianprops={"color": _BLUE}, flierprops={"ms": 2})
    axis.set(xticks=range(1, len(ticks) + 1), xticklabels=ticks, ylabel="SPICE of a sentence")
    return figure


@default_look()
def examples(
    samples: Sequence[Sample],
    items: Mapping[str, Mapping[str, Any]],
    refined: Mapping[str, Mapping[str, Any]],
    chosen: Mapping[str, Sequence[str]],
    folder: Path,
) -> Figure:
    """Draw a grid of test images: one row for each group of ``chosen`` ("best", "worst", "random": image ids).

    ``items`` are the per-image scores of the adapter by image id, ``refined`` those of its refined sentences, of the
    images given to the refiner.
    """
    by_id = {sample.id: sample for sample in samples}
    columns = max(len(ids) for ids in chosen.values())
    layout = ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.04, hspace=0, wspace=0)
    figure = plt.figure(figsize=(_COLUMN * columns, 1), dpi=_DPI, layout=layout)
    rows = [[example(figure, by_id[i], items[i], refined.get(i), folder) for i in ids] for ids in chosen.values()]
    # Two lines of axes a row, pictures and the text below them, each as high as its highest, in inches.
    heights = [
        max(inches) for row in rows for inches in ([e.picture_height for e in row], [e.text_height for e in row])
    ]
    titles = len(rows) * _text_height(4, _TITLE_SIZE)
    figure.set_size_inches(_COLUMN * columns, sum(heights) + titles)
    axes = figure.subplots(len(heights), columns, squeeze=False, height_ratios=heights)
    for axis in axes.flat:
        axis.axis("off")
        axis.set_anchor("NW")
    for number, (group, row) in enumerate(zip(chosen, rows, strict=True)):
        pictures, texts = axes[2 * number], axes[2 * number + 1]
        for picture, below, one in zip(pictures, texts, row, strict=False):
            picture.imshow(one.image)
            heading = f"{group}\n{one.title}" if one is row[0] else one.title
            picture.set_title(heading, fontsize=_TITLE_SIZE, loc="left", parse_math=False)
            # Left out of the layout, which would make room for its width beside the picture.
            below.text(0, 1, one.text, va="top", fontsize=_TEXT_SIZE, parse_math=False, in_layout=False)
    return figure


class Example(NamedTuple):
    """One test image with its pair, references, predictions and scores; heights in inches."""

    image: Image.Image
    title: str
    text: str
    picture_height: float
    text_height: float


def example(
    figure: Figure, sample: Sample, item: Mapping[str, Any], refined: Mapping[str, Any] | None, folder: Path
) -> Example:
    """Prepare one test image for a column of the example grid."""
    pair, first = sample.triples[0], item["task1"][0]
    with Image.open(folder / pair.image) as opened:
        image = opened.convert("RGB")
    sign = "right" if first["correct"] else f"wrong, {first['gold']}"
    title = f"{pair.subject} / {pair.object}: {first['predicted'] or 'no answer'} ({sign})"
    spice = item["task2"].get("spice")
    lines = [
        f"v1: {sample.captions_v1[0]}",
        f"v2: {sample.captions_v2[0]}",
        f"task 2{f' (SPICE {spice[0]:.0f})' if spice else ''}: {item['task2']['sentences'][0]}",
        *(f"task 3: {sentence}" for sentence in item["task3"]["sentences"]),
    ]
    if refined and refined["task3"]["sentences"] != item["task3"]["sentences"]:
        lines += [f"refined: {sentence}" for sentence in refined["task3"]["sentences"]]
    width = 0.92 * _COLUMN
    text = "\n".join(wrapped(figure, line, _TEXT_SIZE, width, indent="    ") for line in lines)
    title = wrapped(figure, title, _TITLE_SIZE, width)
    height = 0.97 * _COLUMN * min(1.0, image.height / image.width)
    return Example(image, title, text, height, _text_height(text.count("\n") + 2, _TEXT_SIZE))


def _text_height(lines: int, size: float) -> float:
    return lines * 1.25 * size / 72


def wrapped(figure: Figure, text: str, size: float, width: float, indent: str = "") -> str:
    """Break ``text`` into lines no wider than ``width`` inches at font size ``size``, as ``figure`` will draw them.

    Words that are wider are broken, too; lines after the first begin with ``indent``.
    """
    artist = figure.text(0, 0, "", fontsize=size, parse_math=False)

    def fits(line: str) -> bool:
        artist.set_text(line)
        return artist.get_window_extent().width <= width * figure.dpi

    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines[-1].strip() else lines[-1] + word
        if fits(longer):
            lines[-1] = longer
            continue
        lines.append(indent)
        for letter in word:
            if not fits(lines[-1] + letter):
                lines.append(indent)
            lines[-1] += letter
    artist.remove()
    return "\n".join(line for line in lines if line.strip())


def as_jpeg(path: Path) -> bytes:
    """Make a JPEG file of a figure that shows pictures, for a notebook: smaller than its PNG file."""
    buffer = io.BytesIO()
    with Image.open(path) as figure:
        figure.convert("RGB").save(buffer, "JPEG", quality=85, subsampling=0)
    return buffer.getvalue()


@default_look()
def save(figure: Figure, name: str, note: str, folder: Path) -> None:
    """Write ``<folder>/<name>.png`` with ``note`` in small print below the figure, which grows by it.

    Charts get a palette of 256 colours, which keeps the files small in git; a figure that shows pictures keeps all of
    theirs.
    """
    figure.set_dpi(_DPI)  # widths of text depend on it
    text = wrapped(figure, note, _NOTE_SIZE, 0.97 * figure.get_figwidth())
    figure.set_figheight(figure.get_figheight() + _text_height(text.count("\n") + 1, _NOTE_SIZE))
    figure.supxlabel(text, fontsize=_NOTE_SIZE, color="0.4", x=0.01, ha="left", parse_math=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    pictures = any(np.ndim(np.asarray(image.get_array())) == 3 for axis in figure.axes for image in axis.images)
    with replacing(folder / f"{name}.png") as temporary, Image.open(buffer) as drawn:
        full = drawn.convert("RGB")
        (full if pictures else full.quantize(256)).save(temporary, format="png", optimize=True)
    plt.close(figure)
