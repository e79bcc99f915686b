"""Score the challenge's submission files, ours or anybody's.

    vsd score --task12 task1-2.json --task3 task3.json \\
        --references-v1 val.json --references-v2 newvsd_val.json --output scores.json

Either prediction file may be left out. Prints a table; writes every value with its definition, and beside it
``scores.items.jsonl`` with the scores of each image. Exit status 2 and the problems on standard error when a file or
an option cannot be used: nothing is scored or written then. Exit status 3 and the reasons on standard error when a
score that was asked for could not be computed, for want of Java, say: all others are written.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import check_output
from vsd_utils.data.annotations import load_items
from vsd_utils.evaluate.references import load_references
from vsd_utils.evaluate.score_files import items_file, write_scores
from vsd_utils.evaluate.scores import TASK_NAMES, Submission, score_systems
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.metrics.bootstrap import RESAMPLES
from vsd_utils.metrics.relation_learned import train_checker

_TITLES = {"task1": "Task 1, relation", "task2": "Task 2, one sentence", "task3": "Task 3, three sentences"}
_HEADLINE = ("z1_macro", "z2", "z3_by_rank", "overall_macro_by_rank")


INCOMPLETE = 3  # exit status when a score that was asked for could not be computed


def score_table(scores: dict[str, Any]) -> Table:
    """Build the table that the command prints: score, value, 95 % interval, what it is."""
    table = Table(
        "score", title_justify="left", title="0 to 100; [95 % bootstrap interval over images]", pad_edge=False
    )
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("what it is", overflow="fold")
    for task, title in _TITLES.items():
        if task in scores["not_computed"]:
            table.add_row(f"[bold]{title}[/]", "", "", escape(scores["not_computed"][task]), end_section=True)
            continue
        texts = scores["definitions"][task]
        against = f", against {texts['references']}" if "references" in texts else ""
        table.add_row(f"[bold]{title}[/]", f"n={scores[task]['n']}", "", f"{texts['n'].split(';')[0]}{against}")
        for name in TASK_NAMES[task]:
            _add_row(table, scores, task, name, texts[name])
        if task == "task1":
            table.add_row("no_answer", str(scores[task]["no_answer"]), "", texts["no_answer"])
        table.add_section()
    for reading in scores["z"]:
        table.add_row(
            f"[bold]Challenge, '{reading}' reading[/]", "", "", "F1 macro, mBLEU-4 by rank; others in the file"
        )
        for name in _HEADLINE:
            _add_row(table, scores, f"z.{reading}", name, scores["definitions"]["z"][name.split("_")[0]])
        table.add_section()
    return table


def _add_row(table: Table, scores: dict[str, Any], group: str, name: str, text: str) -> None:
    values, bounds = scores, scores["intervals"]
    for part in group.split("."):
        values, bounds = values[part], bounds.get(part, {})
    value = values.get(name)
    if value is None:
        reason = scores["not_computed"].get(f"{group}.{name}", "")
        table.add_row(name, "-", "", escape(f"not computed: {reason}"))
        return
    interval = f"{bounds[name][0]:.2f} .. {bounds[name][1]:.2f}" if name in bounds else ""
    table.add_row(name, f"{value:.2f}", interval, text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the files and how they are scored."""
    parser.add_argument("--task12", type=Path, metavar="FILE", help="predictions of tasks 1 and 2 (task1-2.json)")
    parser.add_argument("--task3", type=Path, metavar="FILE", help="predictions of task 3 (task3.json)")
    parser.add_argument(
        "--references-v1", type=Path, required=True, metavar="FILE", help="VSDv1 annotations of the split"
    )
    parser.add_argument("--references-v2", type=Path, metavar="FILE", help="VSDv2 annotations of the split")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the scores go (JSON)")
    parser.add_argument(
        "--train", type=Path, metavar="FILE", help="VSDv1 annotations of another split, for relation_learned"
    )
    parser.add_argument("--task2-references", type=int, choices=(1, 2), default=1, help="version scored against (1)")
    parser.add_argument("--task3-references", type=int, choices=(1, 2), default=2, help="version scored against (2)")
    parser.add_argument("--only-predicted", action="store_true", help="leave out images that the files do not predict")
    parser.add_argument("--resamples", type=int, default=RESAMPLES, help=f"bootstrap resamples ({RESAMPLES})")
    parser.add_argument("--seed", type=int, default=0, help="of the resamples (0)")
    parser.add_argument("--java", type=Path, help="Java program or home (JAVA_HOME, else the one installed with us)")
    parser.add_argument("--heap-gb", type=float, default=4.0, help="most memory for SPICE's Java in GiB (4)")
    parser.add_argument(
        "--no-spice", action="store_true", help="leave SPICE out (it takes minutes when captions are new)"
    )


def run(given: argparse.Namespace) -> int:
    """Score the files, print a table and write all values; returns the exit status."""
    if not given.task12 and not given.task3:
        raise VsdError("nothing to score: give --task12, --task3 or both")
    if given.resamples < 1 or given.heap_gb <= 0:
        raise VsdError(
            f"--resamples {given.resamples}, --heap-gb {given.heap_gb}: both must be positive. Or leave them out"
        )
    if not given.output.name:
        raise VsdError("--output: is not the name of a file. Name the JSON file that the scores go to")
    files = list(filter(None, (given.task12, given.task3, given.references_v1, given.references_v2, given.train)))
    for output in (given.output, items_file(given.output)):
        check_output(output, files)
    try:
        references = load_references(
            given.references_v1, given.references_v2, given.task2_references, given.task3_references
        )
        learned = train_checker(load_items(given.train)) if given.train else None
        scored = score_systems(
            {"system": Submission(given.task12, given.task3)},
            references,
            engine=Engine(given.java, given.heap_gb, spice=not given.no_spice, learned=learned),
            resamples=given.resamples,
            seed=given.seed,
            only_predicted=given.only_predicted,
        )
        evaluation = scored.systems["system"]
        items = write_scores(evaluation, given.output)
    except OSError as error:
        raise VsdError(str(error)) from None
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(score_table(evaluation.scores))
    console.print(f"written: {given.output} and {items}", soft_wrap=True, highlight=False, markup=False)
    for reason, names in _by_reason(evaluation.failed).items():
        print(f"not computed: {', '.join(names)}: {reason}", file=sys.stderr)
    return INCOMPLETE if evaluation.failed else 0


def _by_reason(failed: Mapping[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, reason in failed.items():
        names.setdefault(reason, []).append(name)
    return names
