"""Which rewrites of the three sentences of an item are kept: still true to the prediction, and more diverse.

The refiner sees what the tuned model predicted and nothing else: its three sentences and, as the relation to keep, its
own answer to the classification question ("label"). The annotated relation of a row is never read here.

Every item ends with one reason:

| reason | meaning |
| --- | --- |
| accepted | rewritten |
| not_selected | a limit is set and the item was not drawn |
| unclear_original | no sentence states the predicted relation of the two objects, so there is nothing to preserve |
| already_diverse | the three sentences share next to no four-word sequence; mBLEU-4 cannot fall |
| no_valid_rewrite | no rewrite states the relation, is a new sentence, ends in time and is of a reasonable length |
| not_more_diverse | no three distinct valid sentences have a lower mBLEU-4 than the original |
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from vsd_utils.english import BE, BOUNDS, PLACES, forms, verb_like
from vsd_utils.errors import VsdError
from vsd_utils.relations import RELATIONS
from vsd_utils.statements import states_relation, unpunctuated

Reason = Literal[
    "accepted", "not_selected", "unclear_original", "already_diverse", "no_valid_rewrite", "not_more_diverse"
]
# A lower mBLEU-4 (0 to 1) counts as more diverse from this difference on: pycocoevalcap gives a sentence without any
# common four-word sequence not 0 but a small number that depends on its length.
MIN_GAIN = 0.005
# Combinations of three are tried exhaustively, so the pool that they are drawn from is bounded.
MAX_POOL = 10
_MAX_WORDS = 30
_FIELDS = {"id", "task", "subject", "object", "label", "sentences"}


class Choice(NamedTuple):
    """The three sentences of an item after refinement, and why they are what they are."""

    sentences: list[str]
    reason: Reason


def words(sentence: str) -> list[str]:
    """Lower-case words without punctuation: near to PTB tokens as the metrics use them, but without Java."""
    return re.findall(r"\w+(?:['’]\w+)?", sentence.casefold())


def mbleu4(sentences: Sequence[str]) -> float:
    """mBLEU-4 by sentence of one item, 0 (diverse) to 1: mean BLEU-4 of each sentence against the others.

    BLEU is pycocoevalcap's unsmoothed sentence score on ``words``, the references together with the closest length.
    """
    scores = []
    for index, sentence in enumerate(sentences):
        others = [" ".join(words(other)) for place, other in enumerate(sentences) if place != index]
        scorer = BleuScorer(" ".join(words(sentence)), others, n=4)
        scores.append(scorer.compute_score(option="closest", verbose=0)[1][3][0])
    return float(sum(scores) / len(scores))


def keeps(sentence: str, row: Mapping[str, Any]) -> bool:
    """Whether the sentence names both objects and states the predicted relation of them, one way or the other."""
    return states_relation(sentence, row["subject"], row["object"], row["label"])


def acceptable(sentence: str, row: Mapping[str, Any]) -> bool:
    """Whether a generated text may replace a sentence of the row.

    One line of at most six words more than the longest sentence of the row, without a second sentence; both objects
    and the predicted relation are in it, no word is (going by word lists) a new noun or adjective, and it is not one
    of the row's sentences but for case and punctuation.
    """
    originals = [words(original) for original in row["sentences"]]
    count = len(words(sentence))
    return (
        sentence == " ".join(sentence.split())
        and 3 <= count <= min(_MAX_WORDS, 6 + max(map(len, originals)))
        and re.fullmatch(r"[^\W_].*[\w\"')]\s*[.!]?", sentence) is not None
        and re.search(r"[.!?:;|<>\[\]{}\"]\s", unpunctuated(sentence, row["subject"], row["object"])) is None
        and words(sentence) not in originals
        and not _repeats(row, sentence)
        and not _added(row, sentence)
        and keeps(sentence, row)
    )


def _repeats(row: Mapping[str, Any], sentence: str) -> bool:
    """A weak model goes round in circles ("the sofa in a sofa is a sofa's box"): a noun or verb once too often.

    Allowed is as often as in the names or in a sentence of the row; articles, prepositions and the like are free. Forms
    of "be" count together ("the room is the car is resting on the box").
    """

    def count(text: str) -> Counter[str]:
        found = ("be" if word in BE else word for word in words(text))
        return Counter(word for word in found if word == "be" or word not in BOUNDS)

    allowed = [count(source) for source in (f"{row['subject']} {row['object']}", *row["sentences"])]
    return any(times > max(1, *(known[word] for known in allowed)) for word, times in count(sentence).items())


def _added(row: Mapping[str, Any], sentence: str) -> set[str]:
    """Words that may tell of something new: not the row's, not of a closed class, not a word of place, no verb form."""
    known = {
        form for text in (row["subject"], row["object"], *row["sentences"]) for w in words(text) for form in forms(w)
    }
    told = (word for word in words(sentence) if word not in BOUNDS and word not in PLACES and not verb_like(word))
    return {word for word in told if not forms(word) & known}


def check(row: Mapping[str, Any]) -> None:
    """Raise ``VsdError`` unless the row is a task 3 prediction with a predicted label."""
    if missing := _FIELDS - set(row):
        raise VsdError(f"row {row.get('id')!r} to refine lacks {', '.join(sorted(missing))}; describe the images again")
    if row["task"] != 3 or len(row["sentences"]) != 3:
        raise VsdError(
            f"row {row['id']!r} to refine is of task {row['task']} with {len(row['sentences'])} sentences; "
            "only the three sentences of task 3 are refined"
        )


def hopeless(row: Mapping[str, Any]) -> Reason | None:
    """Why no rewrite of the row could be accepted, found before any is generated; None when one could."""
    if row["label"] not in RELATIONS or not any(keeps(sentence, row) for sentence in row["sentences"]):
        return "unclear_original"
    return "already_diverse" if mbleu4(row["sentences"]) <= MIN_GAIN else None


def choose(row: Mapping[str, Any], candidates: Iterable[str]) -> Choice:
    """Combine the row's sentences and the candidates into the most diverse three that keep the prediction.

    A sentence of the row stays an option as long as it states the prediction itself. Fewer replaced sentences win
    among equally diverse sets. Whatever is not accepted leaves the row's sentences as they are.
    """
    originals: list[str] = list(row["sentences"])
    if reason := hopeless(row):
        return Choice(originals, reason)
    fresh: dict[tuple[str, ...], str] = {}
    for candidate in candidates:
        if acceptable(candidate, row):
            fresh.setdefault(tuple(words(candidate)), candidate)
    if not fresh:
        return Choice(originals, "no_valid_rewrite")
    kept = {tuple(words(sentence)): sentence for sentence in originals if keeps(sentence, row)}
    # A sentence far from every original is the likeliest to lower mBLEU-4 in any combination.
    pool = sorted(fresh.values(), key=lambda text: (_likeness(text, originals), text))[:MAX_POOL]
    before = mbleu4(originals)
    best: tuple[float, int, tuple[str, ...]] | None = None
    for three in itertools.combinations([*kept.values(), *pool], 3):
        found = (round(mbleu4(three), 9), sum(sentence not in originals for sentence in three), three)
        best = min(best, found) if best else found
    if best is None or best[0] >= before - MIN_GAIN:
        return Choice(originals, "not_more_diverse")
    return Choice(_in_place(originals, best[2]), "accepted")


def _likeness(sentence: str, originals: Sequence[str]) -> float:
    pairs = set(itertools.pairwise(words(sentence)))
    shared = [len(pairs & set(itertools.pairwise(words(original)))) for original in originals]
    return sum(shared) / len(pairs)


def _in_place(originals: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Sentences that stay keep their position; the new ones fill the other positions in order."""
    fresh = iter([sentence for sentence in chosen if sentence not in originals])
    left = list(chosen)
    placed = []
    for original in originals:
        if original in left:
            left.remove(original)
            placed.append(original)
        else:
            placed.append(next(fresh))
    return placed


def refined(row: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """The row with its refined sentences, "accepted", "reason" and the "original" three."""
    accepted = choice.reason == "accepted"
    extra = {"sentences": choice.sentences, "accepted": accepted, "reason": choice.reason}
    return {**row, **extra, "original": list(row["sentences"])}


def select(rows: Sequence[Mapping[str, Any]], count: int, seed: int) -> set[str]:
    """Ids of the ``count`` rows to refine (0: all), drawn by ``seed`` from the ids alone, whatever their order."""
    ids = sorted(row["id"] for row in rows)
    return set(ids if count == 0 or count >= len(ids) else random.Random(seed).sample(ids, count))


def tally(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Number of refined rows for each reason that occurs, the most frequent first."""
    return dict(Counter(row["reason"] for row in rows).most_common())
