"""The finetune stage's validation answers as submissions, so that they are scored like any others, step by step.

``finetune.val_answers`` has the stage keep them (``finetune/val_answers.py``): one file of prediction rows a step.
"""

from collections.abc import Sequence
from pathlib import Path

from vsd_utils.common.files import read_jsonl
from vsd_utils.data.annotations import Item
from vsd_utils.evaluate.scores import Submission, submission_in
from vsd_utils.evaluate.submissions import export_submission


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
