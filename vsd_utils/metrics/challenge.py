"""The combined scores of the ACM MM 2024 challenge, in both readings of their parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from vsd_utils.metrics.relation_f1 import AVERAGES

READINGS = {"code": ("bleu4", "spice"), "website": ("bleu4_per_reference_max", "spice_per_reference_max")}
Value = Any  # a float, or an array of one score a resample


def challenge_scores(values: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """Combine scores keyed "task1.f1_macro" and so on to z1, z2, z3 and overall of the challenge.

    z1 = F1; z2 = 0.4 BLEU-4 + 0.6 SPICE of task 2; z3 = 0.5 (50 - mBLEU-4) + 0.5 SPICE of task 3;
    overall = 0.2 z1 + 0.3 z2 + 0.5 z3. Keys are "z.READING.NAME"; F1's averaging and mBLEU's reading are in the name
    where they matter. What lacks a part is None.
    """
    scores: dict[str, Value | None] = {}

    def combine(key: str, constant: float, parts: Sequence[tuple[float, Value | None]]) -> Value | None:
        if any(part is None for _, part in parts):
            scores[key] = None
        else:
            scores[key] = constant + sum(weight * part for weight, part in parts if part is not None)
        return scores[key]

    for reading, (bleu, spice) in READINGS.items():
        two = combine(f"z.{reading}.z2", 0.0, [(0.4, values.get(f"task2.{bleu}")), (0.6, values.get(f"task2.{spice}"))])
        ones = {
            name: combine(f"z.{reading}.z1_{name}", 0.0, [(1.0, values.get(f"task1.f1_{name}"))]) for name in AVERAGES
        }
        for kind in ("by_rank", "by_sentence"):
            diversity, content = values.get(f"task3.mbleu4_{kind}"), values.get(f"task3.{spice}")
            three = combine(f"z.{reading}.z3_{kind}", 25.0, [(-0.5, diversity), (0.5, content)])
            for name, one in ones.items():
                combine(f"z.{reading}.overall_{name}_{kind}", 0.0, [(0.2, one), (0.3, two), (0.5, three)])
    return scores
