"""Score people's captions and their edited copies against the image's other captions, by every metric.

All of an image's sentences are scored against the same references, so CIDEr's weights are the same for a caption and
its copy. The learned checker never scores an image that it was trained on: without a training file the images are cut
into parts, and each part is scored by a checker that was trained on the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import Item
from vsd_utils.evaluate.audit_edits import EDITS, ORIGINAL, EditedCaption
from vsd_utils.evaluate.sentence_scores import TOKEN_NAMES, Engine, SentenceTask, score_sentences
from vsd_utils.metrics.measure import Array
from vsd_utils.metrics.relation_learned import Claim, LearnedChecker, train_checker

RULES, LEARNED = "relation_in_sentence", "relation_learned"
METRICS = (*TOKEN_NAMES, RULES, LEARNED)
COLUMNS = (ORIGINAL, *EDITS)
PARTS = 3
# The reference code gives a sentence that shares no four words with its references a trace of BLEU-4 instead of 0; by
# that trace alone a fifth of v1's pairs and half of v2's would be told apart.
_TRACE = 1.0


@dataclass(frozen=True)
class AuditScores:
    """``scores``: by metric and column ("original" or an edit) one score a caption, 0..100 (CIDEr 0..1000).

    NaN where a caption has no such copy. ``missing`` has the reasons of metrics that were not computed.
    """

    captions: Sequence[EditedCaption]
    scores: Mapping[str, Mapping[str, Array]]
    missing: Mapping[str, str]

    def pairs(
        self, metric: str, edit: str, relation: str | None = None, *, right_column: str = ORIGINAL, having: str = ""
    ) -> tuple[Array, Array]:
        """Give the scores of the captions that have such a copy, of one relation or all, and those of the copies.

        ``right_column`` "synonym" takes the captions with a synonym in place of the captions themselves; ``having``
        names another edit that the captions must have a copy of.
        """
        right, wrong = self.scores[metric][right_column], self.scores[metric][edit]
        there = ~np.isnan(wrong) & ~np.isnan(self.scores[metric][having or edit])
        if relation:
            there &= np.array([caption.relation == relation for caption in self.captions])
        return right[there], wrong[there]


@dataclass(frozen=True)
class HeldOutCheckers:
    """Hold trained checkers and, by image, which of them was not trained on it."""

    checkers: Sequence[LearnedChecker]
    part_of: Mapping[str, int]

    def of(self, img_id: str) -> LearnedChecker:
        """Give the checker that may score an image; raises ``VsdError`` when it was trained on it."""
        checker = self.checkers[self.part_of.get(img_id, 0)]
        checker.refuse_trained([img_id])
        return checker

    def relations(self, claims: Sequence[tuple[str, Claim]]) -> list[str | None]:
        """Read the relation of each (image, claim), each by the checker that may."""
        by_part: dict[int, list[int]] = {}
        for number, (img_id, _) in enumerate(claims):
            by_part.setdefault(self.part_of.get(img_id, 0), []).append(number)
        found: list[str | None] = [None] * len(claims)
        for numbers in by_part.values():
            checker = self.of(claims[numbers[0]][0])
            checker.refuse_trained(claims[number][0] for number in numbers)
            answers = checker.relations([claims[number][1] for number in numbers])
            for number, answer in zip(numbers, answers, strict=True):
                found[number] = answer
        return found


def held_out_checkers(items: Sequence[Item], seed: int, train: Sequence[Item] | None = None) -> HeldOutCheckers:
    """Train on ``train``; without it, cut ``items`` into ``PARTS`` by seed and train for each part on the others.

    Raises ``VsdError`` for ``train`` with images of ``items``, and for fewer images than parts.
    """
    if train is not None:
        checker = train_checker(train)
        checker.refuse_trained(item.img_id for item in items)
        return HeldOutCheckers([checker], {})
    if len(items) < PARTS:
        raise VsdError(f"the learned checker needs {PARTS} images at least to be trained on others, found {len(items)}")
    order = np.random.default_rng(seed).permutation(len(items))
    part_of = {items[number].img_id: place % PARTS for place, number in enumerate(order)}
    checkers = [train_checker([item for item in items if part_of[item.img_id] != part]) for part in range(PARTS)]
    return HeldOutCheckers(checkers, part_of)


def score_edits(captions: Sequence[EditedCaption], checkers: HeldOutCheckers, engine: Engine) -> AuditScores:
    """Score each caption and its copies by every metric; raises ``VsdError`` when there is no caption.

    What cannot be computed, for want of Java, say, is missing with the reason.
    """
    if not captions:
        raise VsdError("no caption can be edited: none states its image's relation in a form that can be written again")
    # 1. One row an image: the caption, then each copy; the caption again where it has no such copy, dropped below.
    rows = [[one.original, *(one.copies.get(edit, one.original) for edit in EDITS)] for one in captions]
    facts = [(one.subject, one.object, frozenset({one.relation})) for one in captions]
    task = SentenceTask(rows, [one.references for one in captions], facts)
    scored = score_sentences({"audit": task}, engine)["audit"]
    # 2. The learned checker, each image by one that has not seen it.
    claims = [
        (one.img_id, Claim(text, one.subject, one.object))
        for one, row in zip(captions, rows, strict=True)
        for text in row
    ]
    read = np.array(checkers.relations(claims), dtype=object).reshape(len(rows), len(COLUMNS))
    expected = np.array([one.relation for one in captions], dtype=object)[:, None]
    each = scored.each | {LEARNED: 100.0 * (read == expected)}
    if "bleu4" in each:
        each["bleu4"] = np.where(each["bleu4"] < _TRACE, 0.0, each["bleu4"])
    # 3. By metric and column.
    absent = np.array([[column != ORIGINAL and column not in one.copies for column in COLUMNS] for one in captions])
    scores = {
        metric: dict(zip(COLUMNS, np.where(absent, np.nan, each[metric]).T, strict=True))
        for metric in METRICS
        if metric in each
    }
    missing = {metric: scored.missing.get(metric, "not computed") for metric in METRICS if metric not in scores}
    return AuditScores(captions, scores, missing)
