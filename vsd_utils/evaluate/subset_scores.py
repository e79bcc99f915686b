"""Scores on hard scenes (``data/subsets.py``): of systems, and of regressions that see no image.

Of systems everything is counted image by image, and an image belongs to the subsets of its first pair, which tasks 2
and 3 ask about. Regressions are asked about every pair, each by one that was fitted to other images.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vsd_utils.data.annotations import Item, Triple
from vsd_utils.data.subsets import SUBSETS, subsets_of
from vsd_utils.evaluate.baselines import predict_relations
from vsd_utils.evaluate.scores import Evaluation
from vsd_utils.metrics.bootstrap import intervals
from vsd_utils.metrics.measure import Array, Measure, mean_measure, share_measure
from vsd_utils.metrics.relation_checker import statement

FEWEST = 20  # images, below which a subset's cell is left empty
PARTS = 5
REGRESSIONS = ("majority", "boxes_regression", "names_regression", "boxes_and_names_regression")
SYSTEM_SCORES = ("task1.accuracy", "task2.bleu4", "task2.spice", "task2.relation_in_sentence", "task3.mbleu4_by_rank")
CONFIDENCE = "confidence"  # column: mean probability of the relations that were named, in %
Sizes = Mapping[str, tuple[int, int]]  # width and height of photos, by image


@functools.lru_cache(maxsize=1 << 17)
def _stated(caption: str, subject: str, object_: str) -> frozenset[str]:
    return statement(caption, subject, object_).relations


def subsets_of_pairs(items: Sequence[Item], sizes: Sizes | None = None) -> list[list[frozenset[str]]]:
    """Name the subsets of every pair, image by image."""
    sizes = sizes or {}
    return [
        [subsets_of(item, triple, sizes.get(item.img_id), _stated) for triple in item.triple_list] for item in items
    ]


def annotation_table(items: Sequence[Item], seed: int, sizes: Sizes | None = None) -> pd.DataFrame:
    """Show of each subset pairs, share of all pairs, and accuracy of the regressions with 95 % intervals over images.

    Images are cut into ``PARTS`` by ``seed``; a part is predicted by what was fitted to the others.
    """
    right = _regressed(items, seed)
    names = [subsets for of_image in subsets_of_pairs(items, sizes) for subsets in of_image]
    image = np.repeat(np.arange(len(items)), [len(item.triple_list) for item in items])
    rows = []
    for subset in SUBSETS:
        chosen = np.array([subset in subsets for subsets in names])
        row = {"subset": subset, "pairs": f"{chosen.sum():,}", "share, %": f"{100 * chosen.mean():.1f}"}
        for name in REGRESSIONS:
            row[name] = _share(right[name][chosen], image[chosen], seed)
        rows.append(row)
    return pd.DataFrame(rows)


def confidences(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Give by image the probability of the relation that was named of its first pair; empty where none are known.

    ``rows`` are predictions (``models/answering.py``), of which task 1 has probabilities where it was answered by
    likelihood.
    """
    found: dict[str, float] = {}
    for row in rows:
        if row["task"] == 1 and "probabilities" in row:
            found.setdefault(row["img_id"], max(row["probabilities"].values()))
    return found


def system_table(
    systems: Mapping[str, Evaluation],
    items: Sequence[Item],
    seed: int,
    sizes: Sizes | None = None,
    confidence: Mapping[str, Mapping[str, float]] | None = None,
    further: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """Show each system's scores by subset, with 95 % intervals over images.

    Empty where a subset has fewer than ``FEWEST`` images or the score was not computed. ``items`` are the references.
    ``further`` names more subsets, with the ids of their images. With ``confidence``, by system what ``confidences``
    gives, its mean stands beside the accuracy that it promises.
    """
    confidence = confidence or {}
    first = {item.img_id: of_image[0] for item, of_image in zip(items, subsets_of_pairs(items, sizes), strict=True)}
    rows = []
    members = {subset: {img_id for img_id, its in first.items() if subset in its} for subset in SUBSETS}
    for subset, images in (members | dict(further or {})).items():
        for name, evaluation in systems.items():
            chosen = np.array([img_id in images for img_id in evaluation.images])
            row = {"subset": subset, "system": name, "images": f"{chosen.sum():,}"}
            for score in SYSTEM_SCORES:
                measure = evaluation.measures.get(score)
                row[score] = "" if measure is None else _of_images(measure, chosen, seed)
                if score == "task1.accuracy" and confidence:
                    sure = confidence.get(name)
                    row[CONFIDENCE] = "" if not sure else _of_images(_sure(sure, evaluation), chosen, seed)
            rows.append(row)
    return pd.DataFrame(rows)


def _regressed(items: Sequence[Item], seed: int) -> dict[str, Array]:
    """Tell of every pair, image by image, whether each regression names its relation: (pairs,) of 0 and 1."""
    part_of = np.random.default_rng(seed).permutation(len(items)) % PARTS
    right: dict[str, dict[tuple[int, int], bool]] = {name: {} for name in REGRESSIONS}
    for part in range(PARTS):
        fitted = [
            triple for item, its in zip(items, part_of, strict=True) if its != part for triple in item.triple_list
        ]
        asked: list[tuple[tuple[int, int], Triple]] = [
            ((number, place), triple)
            for number, item in enumerate(items)
            if part_of[number] == part
            for place, triple in enumerate(item.triple_list)
        ]
        answers = predict_relations(fitted, [triple for _, triple in asked])
        for name, found in right.items():
            found.update({key: answer == t.p for (key, t), answer in zip(asked, answers[name], strict=True)})
    return {name: np.array([found[key] for key in sorted(found)], dtype=float) for name, found in right.items()}


def _share(right: Array, image: Array, seed: int) -> str:
    measure = share_measure(right, image)
    return "" if len(measure.counts) < FEWEST else _with_interval(measure, seed)


def _sure(sure: Mapping[str, float], evaluation: Evaluation) -> Measure:
    return mean_measure([sure[img_id] for img_id in evaluation.images])


def _of_images(measure: Measure, chosen: Array, seed: int) -> str:
    if chosen.sum() < FEWEST:
        return ""
    return _with_interval(Measure(measure.counts[chosen], measure.formula), seed)


def _with_interval(measure: Measure, seed: int) -> str:
    low, high = intervals({"it": measure}, seed=seed)["it"]
    return f"{measure.value:.1f} [{low:.1f}, {high:.1f}]"
