"""How answers get better while a model is trained: the finetune stage's validation answers, scored step by step.

``finetune.val_answers`` has the stage keep them (``finetune/val_answers.py``): one file of prediction rows a step.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from vsd_utils.common.files import read_jsonl
from vsd_utils.data.annotations import Item
from vsd_utils.evaluate.scores import Evaluation, Submission, submission_in
from vsd_utils.evaluate.submissions import export_submission

# Column and score: what a table and a figure show of each step.
SHOWN = {
    "relation accuracy": ("task1", "accuracy"),
    "T2 BLEU-4": ("task2", "bleu4"),
    "T2 SPICE": ("task2", "spice"),
    "T2 relation": ("task2", "relation_in_sentence"),
    "T3 mBLEU-4": ("task3", "mbleu4_by_rank"),
    "T3 SPICE": ("task3", "spice"),
}


def step_submissions(answers: Path, items: Sequence[Item], target: Path) -> dict[str, Submission]:
    """Write each step's answers below ``target`` as the challenge's files, to be scored; by step.

    ``answers`` is the folder of the stage's files, ``items`` are VSDv1's of the validation split. Empty where the stage
    kept none.
    """
    found = {}
    for path in sorted(answers.glob("*.jsonl")):
        rows = read_jsonl(path)
        answered = {row["img_id"] for row in rows}
        export_submission(rows, [item for item in items if item.img_id in answered], target / path.stem)
        found[str(int(path.stem))] = submission_in(target / path.stem)
    return found


def convergence_table(steps: Mapping[str, Evaluation]) -> pd.DataFrame:
    """Show one row a step: images, scores and their 95 % bootstrap intervals over images."""
    rows = []
    for step, evaluation in steps.items():
        row = {"step": step, "images": str(len(evaluation.images))}
        rows.append(row | {name: _with_interval(evaluation, *key) for name, key in SHOWN.items()})
    return pd.DataFrame(rows)


def curves(steps: Mapping[str, Evaluation]) -> dict[str, dict[int, tuple[float, float, float]]]:
    """Give by column of ``SHOWN`` and step a score and both ends of its interval; not of scores that are missing."""
    found: dict[str, dict[int, tuple[float, float, float]]] = {}
    for step, evaluation in steps.items():
        for name, (task, score) in SHOWN.items():
            value = evaluation.scores[task][score]
            if value is not None:
                low, high = evaluation.scores["intervals"].get(task, {}).get(score, (value, value))
                found.setdefault(name, {})[int(step)] = (value, low, high)
    return found


def _with_interval(evaluation: Evaluation, task: str, score: str) -> str:
    value = evaluation.scores[task][score]
    if value is None:
        return ""
    interval = evaluation.scores["intervals"].get(task, {}).get(score)
    return f"{value:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]" if interval else f"{value:.1f}"
