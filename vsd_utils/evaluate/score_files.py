"""The files of a system's scores: all values in one, and beside it one line an image."""

from pathlib import Path

from vsd_utils.common.files import write_json, write_jsonl
from vsd_utils.evaluate.scores import Evaluation


def write_scores(evaluation: Evaluation, output: Path) -> Path:
    """Write the scores to ``output`` (JSON) and one line an image beside it; returns the path of the latter."""
    items = items_file(output)
    write_json(output, evaluation.scores)
    write_jsonl(items, evaluation.items)
    return items


def items_file(output: Path) -> Path:
    """Name the file with one line an image that lies beside the scores in ``output``."""
    return output.with_name(f"{output.stem}.items.jsonl")
