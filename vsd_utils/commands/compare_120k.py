"""Say how the authors' LLaVA-VSD-120K differs from our conversations, and which split of the captions explains it.

    vsd compare-120k LLaVA-VSD-120K.json --annotations sources/vsd

The file is a JSON list in LLaVA's training format. Counts come from the annotation files of the splits that
``--split`` names; nothing is converted or drawn. How a rule is compared, and when it explains a task, stands in
``vsd_utils/data/authors_conversations.py``. ``--output`` writes all of it as JSON.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import check_output, write_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import SPLITS, read_versions
from vsd_utils.data.authors_conversations import NEARLY, Comparison, compare, explained_by, read_release, task3_answers
from vsd_utils.data.conversations import converse
from vsd_utils.data.prompts import QUESTIONS, TASKS
from vsd_utils.data.samples import Sample, outline

PUBLISHED = 121_339  # conversations in the paper; how they divide over the tasks is not published
_SHOWN = 20  # of the questions that are not ours


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the file and what to compare it with."""
    parser.add_argument("file", type=Path, metavar="FILE", help="the authors' conversations (JSON)")
    parser.add_argument("--annotations", type=Path, required=True, metavar="FOLDER", help="with VSDv1 and VSDv2")
    parser.add_argument("--split", nargs="+", choices=SPLITS, default=["train"], help="of the annotations (train)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the comparison goes (JSON)")


def run(given: argparse.Namespace) -> int:
    """Compare, print tables and the verdict, and write the file that was asked for."""
    folder = given.annotations
    paths = [(annotation_file(1, split, folder), annotation_file(2, split, folder)) for split in given.split]
    if given.output:
        check_output(given.output, [given.file, *(path for pair in paths for path in pair)])
    samples: dict[str, Sample] = {}
    unusable = 0
    for v1_path, v2_path in paths:
        joined, broken = read_versions(v1_path, v2_path)
        unusable += len(broken)
        samples |= {versions.v1.img_id: outline(versions, "", (0, 0)) for versions in joined}
    if unusable:
        print(f"{unusable:,} items of the annotations are not valid and not compared with", file=sys.stderr)
    compared = comparison(given.file, samples)
    _show(compared)
    if given.output:
        write_json(given.output, compared)
    return 0


def comparison(file: Path, samples: dict[str, Sample]) -> dict[str, Any]:
    """Compare a file with what the images ``samples`` give, as a JSON document; raises ``VsdError`` for a bad file."""
    release = read_release(file, samples)
    if not samples:
        raise VsdError("no annotated image to compare with")
    ours = [one.task for sample in samples.values() for one in converse(sample, task2_captions=0)]
    tasks = compare(release, list(samples.values()))
    explanation = explained_by(tasks)
    known = sum(one.image is not None for one in release.asked)
    return {
        "conversations": {
            "theirs": len(release.asked) + release.unknown.total(),
            "ours": len(ours),
            "published": PUBLISHED,
        },
        "with_an_annotated_image": known,
        "templates": {
            str(task): {
                "question": QUESTIONS[task],
                "theirs": sum(one.task == task for one in release.asked),
                "ours": ours.count(task),
            }
            for task in TASKS
        },
        "unknown_templates": dict(release.unknown.most_common()),
        "rules": {str(task): [one._asdict() for one in rules] for task, rules in tasks.items()},
        "task3_answers": task3_answers(release, samples),
        "explained_by": {str(task): rule for task, rule in explanation.items()},
        "verdict": _verdict(explanation, tasks),
    }


def _verdict(explanation: dict[int, str | None], tasks: dict[int, list[Comparison]]) -> str:
    named = [
        f"task {task}: {rule or 'none of these'}" + (f" ({tasks[task][0].verdict})" if rule else "")
        for task, rule in explanation.items()
    ]
    whole = "" if all(explanation.values()) else "none of these splits explains the whole; "
    return whole + "; ".join(named)


def _show(compared: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    numbers = compared["conversations"]
    console.print(
        f"conversations: {numbers['theirs']:,} in the file, {numbers['ours']:,} of ours from these annotations, "
        f"{numbers['published']:,} in the paper; {compared['with_an_annotated_image']:,} are about an annotated image"
    )
    templates = Table("question", title="Templates", title_justify="left")
    for name in ("theirs", "ours", "difference"):
        templates.add_column(name, justify="right")
    for row in compared["templates"].values():
        difference = f"{row['theirs'] - row['ours']:+,}"
        templates.add_row(escape(row["question"]), f"{row['theirs']:,}", f"{row['ours']:,}", difference)
    unknown = list(compared["unknown_templates"].items())
    for text, number in unknown[:_SHOWN]:
        templates.add_row(f"not ours: {escape(text)}", f"{number:,}", "0", f"{number:+,}")
    if more := unknown[_SHOWN:]:
        number = sum(count for _, count in more)
        templates.add_row(f"not ours: {len(more):,} further texts", f"{number:,}", "0", f"{number:+,}")
    console.print(templates)
    title = f"Rules; nearly: at least {NEARLY:.0%} shared"
    rules = Table("task", "rule", title=title, title_justify="left")
    for name in ("conversations", "shared", "similarity"):
        rules.add_column(name, justify="right")
    rules.add_column("explains it")
    for task, rows in compared["rules"].items():
        for row in rows:
            cells = (f"{row['conversations']:,}", f"{row['shared']:,}", f"{row['similarity']:.4f}", row["verdict"])
            rules.add_row(task, row["rule"], *cells)
        rules.add_section()
    console.print(rules)
    made = ", ".join(f"{kind} {number:,}" for kind, number in compared["task3_answers"].items())
    console.print(f"answers of task 3: {made}", soft_wrap=True)
    console.print(f"verdict: {compared['verdict']}", soft_wrap=True)
