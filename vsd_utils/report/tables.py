"""The report's tables: made from scores, written as Markdown, CSV and LaTeX, each with where its numbers come from."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vsd_utils.common.files import write_text
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.metrics.bootstrap import Comparison
from vsd_utils.report.systems import labels

MAIN = {
    "accuracy": ("task1", "accuracy"),
    "F1 macro": ("task1", "f1_macro"),
    "T2 BLEU-4": ("task2", "bleu4"),
    "T2 SPICE": ("task2", "spice"),
    "T2 relation": ("task2", "relation_in_sentence"),
    "T3 mBLEU-4": ("task3", "mbleu4_by_rank"),
    "T3 SPICE": ("task3", "spice"),
    "T3 relation": ("task3", "relation_in_sentence"),
}
SENTENCE_SCORES = (
    *("bleu4", "bleu4_per_reference_max", "spice", "spice_per_reference_max", "meteor", "rouge_l", "cider"),
    *("relation_in_sentence", "relation_learned"),
)
EMPTY = ""


def image_count(scores: Mapping[str, Any]) -> int:
    """Count the images that the sentences of a system were scored on, the same for tasks 2 and 3; 0 without either."""
    return max(int(scores[task]["n"]) for task in ("task2", "task3"))


def main_table(systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Show one row a system: on how many images, the headline scores and their 95 % intervals over these images."""
    names = labels(systems)
    return _frame(
        {
            names[system]: {"images": str(image_count(scores))}
            | {label: _with_interval(scores, *key) for label, key in MAIN.items()}
            for system, scores in systems.items()
        }
    )


def convergence_table(steps: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Show one row a training step: on how many images, the headline scores and their 95 % intervals over these."""
    return pd.DataFrame(
        [
            {"step": step, "images": str(image_count(scores))}
            | {label: _with_interval(scores, *key) for label, key in MAIN.items()}
            for step, scores in steps.items()
        ]
    )


def task_table(systems: Mapping[str, Mapping[str, Any]], task: str) -> pd.DataFrame:
    """Show every score of task 2 or 3 ("task2", "task3") in every reading, one row a system that answers it."""
    scored = SENTENCE_SCORES + (("mbleu4_by_rank", "mbleu4_by_sentence") if task == "task3" else ())
    names = labels(systems)
    return _frame(
        {
            names[system]: {"n": str(scores[task]["n"])} | {name: _with_interval(scores, task, name) for name in scored}
            for system, scores in systems.items()
            if scores[task]["n"]
        }
    )


def relation_table(systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Show task 1, one row a system that answers it: F1 of each relation, then micro (accuracy), macro and weighted."""
    rows = {}
    names = labels(systems)
    for system, scores in systems.items():
        if not scores["task1"]["n"]:
            continue
        each = scores["task1"]["f1_per_relation"]
        row = {"n": str(scores["task1"]["n"])}
        row |= {relation: _number(each.get(relation)) for relation in RELATIONS}
        row |= {
            label: _with_interval(scores, "task1", key)
            for label, key in (("micro = accuracy", "f1_micro"), ("macro", "f1_macro"), ("weighted", "f1_weighted"))
        }
        rows[names[system]] = row | {"no answer": str(scores["task1"]["no_answer"])}
    return _frame(rows)


def challenge_table(systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Show z1, z2, z3 and overall of the challenge in both readings (F1 macro, mBLEU-4 by rank)."""
    combined = ("z1_macro", "z2", "z3_by_rank", "overall_macro_by_rank")
    names = labels(systems)
    return _frame(
        {
            names[system]: {"images": str(image_count(scores))}
            | {
                f"{name}, {reading}": _number(scores["z"][reading].get(name))
                for reading in scores["z"]
                for name in combined
            }
            for system, scores in systems.items()
        }
    )


def paired_table(pairs: Mapping[str, Mapping[str, Comparison]], images: Mapping[str, int]) -> pd.DataFrame:
    """Show differences of two systems with 95 % intervals and p, for the headline scores; one row a score and pair.

    ``images`` says by pair on how many images both were scored. A pair without any comparison has one empty row.
    """
    rows: list[dict[str, str]] = []
    for pair, compared in pairs.items():
        start = {"systems": pair, "images": str(images[pair])}
        if not compared:
            rows.append(start | dict.fromkeys(("score", "difference", "95 % interval", "p"), EMPTY))
        for label, (task, name) in MAIN.items():
            if (found := compared.get(f"{task}.{name}")) is not None:
                interval = f"[{found.low:+.1f}, {found.high:+.1f}]"
                row = {"score": label, "difference": f"{found.difference:+.1f}"}
                rows.append(start | row | {"95 % interval": interval, "p": f"{found.p:.3f}"})
    return pd.DataFrame(rows, columns=["systems", "images", "score", "difference", "95 % interval", "p"])


def empty_scores(systems: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """List scores that were not computed: one row a system and reason, with all scores that are empty for it.

    "task3: bleu4, spice" are task 3's two, "task1" alone is the whole task.
    """
    rows = []
    names = labels(systems)
    for system, scores in systems.items():
        missing: dict[str, dict[str, list[str]]] = {}
        for key, reason in scores["not_computed"].items():
            group, _, name = key.rpartition(".")
            missing.setdefault(reason, {}).setdefault(group or name, []).extend([name] if group else [])
        for reason, groups in missing.items():
            keys = "; ".join(f"{group}: {', '.join(each)}" if each else group for group, each in groups.items())
            rows.append({"system": names[system], "scores": keys, "reason": reason})
    return pd.DataFrame(rows, columns=["system", "scores", "reason"])


def read_rows(name: str, folder: Path) -> list[dict[str, str]]:
    """Read the rows of ``<folder>/<name>.csv``, a table that ``write`` has written without an index.

    Someone may have saved it with a spreadsheet, which puts notes in quotes.
    """
    lines = (folder / f"{name}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if not line.startswith(("#", '"#')))
    return list(csv.DictReader(lines[first:]))


def write(name: str, title: str, table: pd.DataFrame, notes: Sequence[str], folder: Path) -> None:
    """Write ``<folder>/<name>.md``, ``.csv`` and ``.tex``; ``notes`` (definitions, provenance) go with each."""
    index = table.index.name is not None or not isinstance(table.index, pd.RangeIndex)
    text = table.to_markdown(index=index, disable_numparse=True)
    below = "\n".join(f"- {note}" for note in notes)
    write_text(folder / f"{name}.md", f"# {title}\n\n{text}\n\n{below}\n")
    comments = "".join(f"# {line}\n" for line in (title, *notes))
    write_text(folder / f"{name}.csv", comments + table.to_csv(index=index))
    latex = table.rename(columns=_latex, index=_latex if index else None)
    latex = latex.map(lambda cell: _latex(cell) if isinstance(cell, str) else cell)
    body = latex.to_latex(index=index, escape=False, caption=_latex(title), label=f"tab:{name}", position="t")
    percent = "".join(f"% {line}\n" for line in notes)
    write_text(folder / f"{name}.tex", percent + body)


def _frame(rows: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows)))
    frame.index.name = "system"
    return frame


def _number(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.1f}"


def _with_interval(scores: Mapping[str, Any], task: str, name: str) -> str:
    value = scores[task].get(name)
    bounds = scores["intervals"].get(task, {}).get(name)
    if value is None or not bounds:
        return _number(value)
    return f"{value:.1f} [{bounds[0]:.1f}, {bounds[1]:.1f}]"


def _latex(text: str) -> str:
    for sign in "&%_#$":
        text = text.replace(sign, f"\\{sign}")
    return text
