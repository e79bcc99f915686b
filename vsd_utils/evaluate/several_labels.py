"""Task 1 on data whose pairs may have several right relations (``data/vrd.py``): any of them counts as right."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import RELATIONS, Triple
from vsd_utils.data.vrd import LabelledImage
from vsd_utils.metrics.bootstrap import Comparison, compare, intervals
from vsd_utils.metrics.measure import Array, share_measure

FEWEST = 20  # pairs, below which a cell is left empty
ALL = "all pairs"
_SEEN, _UNSEEN = "both names in training", "a name not in training"
Predicted = Mapping[str, Sequence[str]]  # by system a relation for each pair, image by image


def accuracy_table(
    predicted: Predicted, images: Sequence[LabelledImage], train: Sequence[Triple], seed: int
) -> pd.DataFrame:
    """Show each system's share of pairs with a right relation, in %, with 95 % bootstrap intervals over images.

    Of all pairs, of those whose names both stand in ``train`` and those with another name, and of the pairs with one
    relation by that relation. The first row counts pairs; cells of fewer than ``FEWEST`` are empty.
    """
    columns = _columns(images, train)
    rows = [{"system": "number of pairs"} | {name: f"{chosen.sum():,}" for name, chosen in columns.items()}]
    for system, relations in predicted.items():
        right, image = _right(system, relations, images)
        row = {"system": system}
        for name, chosen in columns.items():
            row[name] = _share(right[chosen], image[chosen], seed)
        rows.append(row)
    return pd.DataFrame(rows)


def differences(
    predicted: Predicted, images: Sequence[LabelledImage], system: str, seed: int
) -> dict[str, dict[str, Comparison]]:
    """Compare ``system`` with each other one over all pairs, paired over images.

    The result has the form of ``report.tables.paired_table``: by pair of systems, then "task1.accuracy".
    """
    measures = {name: share_measure(*_right(name, relations, images)) for name, relations in predicted.items()}
    return {
        f"{system} - {other}": compare(
            {"task1.accuracy": measures[system]}, {"task1.accuracy": measures[other]}, seed=seed
        )
        for other in predicted
        if other != system
    }


def _columns(images: Sequence[LabelledImage], train: Sequence[Triple]) -> dict[str, Array]:
    known = {name.lower() for triple in train for name in (triple.s, triple.o)}
    pairs = [pair for image in images for pair in zip(image.item.triple_list, image.labels, strict=True)]
    seen = np.array([{triple.s.lower(), triple.o.lower()} <= known for triple, _ in pairs])
    by_relation = {name: np.array([labels == {name} for _, labels in pairs]) for name in RELATIONS}
    return {ALL: np.ones(len(pairs), dtype=bool), _SEEN: seen, _UNSEEN: ~seen, **by_relation}


def _right(system: str, relations: Sequence[str], images: Sequence[LabelledImage]) -> tuple[Array, Array]:
    """Tell of each pair whether its relation is one of the right ones, 0 or 1, and the number of its image."""
    labels = [labels for image in images for labels in image.labels]
    if len(relations) != len(labels):
        raise VsdError(f"{system}: {len(relations)} relations for {len(labels)} pairs")
    right = np.array([relation in known for relation, known in zip(relations, labels, strict=True)], dtype=np.float64)
    return right, np.repeat(np.arange(len(images)), [len(image.labels) for image in images])


def _share(right: Array, image: Array, seed: int) -> str:
    measure = share_measure(right, image)
    if len(right) < FEWEST or len(measure.counts) < 2:
        return ""
    low, high = intervals({"share": measure}, seed=seed)["share"]
    return f"{measure.value:.1f} [{low:.1f}, {high:.1f}]"
