"""Two systems compared, and one system's scores with each other."""

from collections.abc import Sequence
from typing import Any

from vsd_utils.common.errors import VsdError
from vsd_utils.evaluate.scores import TASK_NAMES, Evaluation
from vsd_utils.metrics.bootstrap import RESAMPLES, Comparison, compare
from vsd_utils.metrics.challenge import challenge_scores


def compare_systems(
    first: Evaluation,
    second: Evaluation,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tasks: Sequence[str] = tuple(TASK_NAMES),
) -> dict[str, Comparison]:
    """Compare every score that both systems have, z and overall too, by keys such as "task2.spice" and "z.code.z2".

    ``tasks`` leaves out the scores of the others, where both systems give the same answers. Empty when there is one
    image, of which there is no test. Raises ``VsdError`` when the two were not scored on the same images.
    """
    if first.images != second.images:
        raise VsdError("a paired test needs two systems that were scored on the same images in the same order")
    if len(first.images) < 2:
        return {}
    mine, other = (
        {key: measure for key, measure in one.measures.items() if key.split(".")[0] in tasks} for one in (first, second)
    )
    return compare(mine, other, challenge_scores, resamples, seed)


def disagreements(evaluation: Evaluation, task: str = "task2", count: int = 5) -> dict[str, list[dict[str, Any]]]:
    """List the sentences on which SPICE and the relation checker disagree most.

    "high_spice_wrong_relation": highest SPICE first among sentences that do not state the relation;
    "low_spice_right_relation": lowest first among those that do. Rows have img_id, subject, object, relation, sentence,
    references, spice. Both lists are empty when SPICE was not computed.
    """
    rows = []
    for item in evaluation.items:
        scores = item.get(task)
        if not scores or scores.get("spice") is None:
            continue
        for number, sentence in enumerate(scores["sentences"]):
            row = {key: item[key] for key in ("img_id", "subject", "object", "relation")}
            row |= {"sentence": sentence, "references": scores["references"], "spice": scores["spice"][number]}
            rows.append((bool(scores["relation_in_sentence"][number]), row))
    wrong = sorted((row for stated, row in rows if not stated), key=lambda row: (-row["spice"], row["img_id"]))
    right = sorted((row for stated, row in rows if stated), key=lambda row: (row["spice"], row["img_id"]))
    return {"high_spice_wrong_relation": wrong[:count], "low_spice_right_relation": right[:count]}
