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
| no_readable_answer | no sentence could be read from any answer of the chat model |
| no_valid_rewrite | sentences were read, but none states the relation, is new and is of a reasonable length |
| not_more_diverse | no three distinct valid sentences have a lower mBLEU-4 than the original |

A refined row (``data/refined/lora_refined.jsonl``) is the task 3 row of ``vsd_utils.models.answering`` and

| field | content |
| --- | --- |
| label | the relation that the tuned model predicted, which a rewrite has to state |
| sentences | three, refined if accepted, else those of ``original`` |
| original | the three sentences that the tuned model wrote |
| accepted | whether the item was rewritten |
| reason | why, one of the table above |
| readable_answers | how many answers of the chat model at least one sentence was read from |
| unreadable_answers | how many answers no sentence was read from, by reason (``chat_answers.Unreadable``) |
| acceptable_rewrites | how many sentences were read that may replace an original, repeated ones included |
| rejected_rewrites | how many sentences were read that may not, by reason (``Rejection``) |

The last four count what was asked of the chat model for the item: where nothing was, they are 0 and empty. It is not
asked about an item that is not_selected, nor, unless parameter ``ask_hopeless`` is set, about one that is
unclear_original or already_diverse; of these the counts are all that comes of the answers. An answer holds one rewrite
for the prompt "sentence", and up to three, or more, for "set".
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pycocoevalcap.bleu.bleu_scorer import BleuScorer

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.metrics.english import BE, BOUNDS, PLACES, forms, verb_like
from vsd_utils.metrics.relation_checker import states_relation, unpunctuated
from vsd_utils.refine.chat_answers import Reading

Reason = Literal[
    "accepted",
    "not_selected",
    "unclear_original",
    "already_diverse",
    "no_readable_answer",
    "no_valid_rewrite",
    "not_more_diverse",
]
# The first of these that holds is why a rewrite may not replace a sentence; see ``rejection``.
Rejection = Literal["length", "not_one_sentence", "unchanged", "repetitive", "new_words", "relation_not_stated"]
# What a refined row has that a task 3 row with a label has not.
FIELDS = (
    *("accepted", "reason", "original"),
    *("readable_answers", "unreadable_answers", "acceptable_rewrites", "rejected_rewrites"),
)
# A lower mBLEU-4 (0 to 1) counts as more diverse from this difference on: pycocoevalcap gives a sentence without any
# common four-word sequence not 0 but a small number that depends on its length.
MIN_GAIN = 0.005
# Combinations of three are tried exhaustively, so the pool that they are drawn from is bounded.
MAX_POOL = 10
_MAX_WORDS = 30
_NEEDED = {"id", "task", "subject", "object", "label", "sentences"}


class Choice(NamedTuple):
    """The three sentences of an item after refinement, why they are what they are, and what the candidates were."""

    sentences: list[str]
    reason: Reason
    acceptable_rewrites: int = 0
    rejected_rewrites: Mapping[Rejection, int] = MappingProxyType({})


def words(sentence: str) -> list[str]:
    """Cut into lower-case words without punctuation: near to the metrics' PTB tokens, but without Java."""
    return re.findall(r"\w+(?:['’]\w+)?", sentence.casefold())


def mbleu4(sentences: Sequence[str]) -> float:
    """Measure mBLEU-4 by sentence of one item, 0 (diverse) to 1: mean BLEU-4 of each against the others.

    BLEU is pycocoevalcap's unsmoothed sentence score on ``words``, the references together with the closest length.
    """
    scores = []
    for index, sentence in enumerate(sentences):
        others = [" ".join(words(other)) for place, other in enumerate(sentences) if place != index]
        scorer = BleuScorer(" ".join(words(sentence)), others, n=4)
        scores.append(scorer.compute_score(option="closest", verbose=0)[1][3][0])
    return float(sum(scores) / len(scores))


def keeps(sentence: str, row: Mapping[str, Any]) -> bool:
    """Say whether the sentence names both objects and states the predicted relation of them, one way or the other."""
    return states_relation(sentence, row["subject"], row["object"], row["label"])


def rejection(sentence: str, row: Mapping[str, Any]) -> Rejection | None:
    """Say why a generated text may not replace a sentence of the row; None when it may.

    One line of at least three and at most six words more than the longest sentence of the row ("length"), without a
    second sentence ("not_one_sentence"), and not one of the row's sentences but for case and punctuation ("unchanged");
    it does not go round in circles ("repetitive"), no word is (going by word lists) a new noun or adjective
    ("new_words"), and both objects and the predicted relation are in it ("relation_not_stated").
    """
    originals = [words(original) for original in row["sentences"]]
    bare = unpunctuated(sentence, row["subject"], row["object"])
    if not 3 <= len(words(sentence)) <= min(_MAX_WORDS, 6 + max(map(len, originals))):
        return "length"
    if (
        sentence != " ".join(sentence.split())
        or not re.fullmatch(r"[^\W_].*[\w\"')]\s*[.!]?", sentence)
        or re.search(r"[.!?:;|<>\[\]{}\"]\s", bare)
    ):
        return "not_one_sentence"
    if words(sentence) in originals:
        return "unchanged"
    if _repeats(row, sentence):
        return "repetitive"
    if _added(row, sentence):
        return "new_words"
    return None if keeps(sentence, row) else "relation_not_stated"


def acceptable(sentence: str, row: Mapping[str, Any]) -> bool:
    """Say whether a generated text may replace a sentence of the row: there is no ``rejection`` of it."""
    return rejection(sentence, row) is None


def _repeats(row: Mapping[str, Any], sentence: str) -> bool:
    """Say whether a noun or verb occurs too often: a weak model goes round in circles ("a sofa in a sofa's sofa").

    Allowed is as often as in the names or in a sentence of the row; articles, prepositions and the like are free. Forms
    of "be" count together ("the room is the car is resting on the box").
    """

    def count(text: str) -> Counter[str]:
        found = ("be" if word in BE else word for word in words(text))
        return Counter(word for word in found if word == "be" or word not in BOUNDS)

    allowed = [count(source) for source in (f"{row['subject']} {row['object']}", *row["sentences"])]
    return any(times > max(1, *(known[word] for known in allowed)) for word, times in count(sentence).items())


def _added(row: Mapping[str, Any], sentence: str) -> set[str]:
    """Find words that may tell of something new: not the row's, of no closed class, no word of place, no verb form."""
    known = {
        form for text in (row["subject"], row["object"], *row["sentences"]) for w in words(text) for form in forms(w)
    }
    told = (word for word in words(sentence) if word not in BOUNDS and word not in PLACES and not verb_like(word))
    return {word for word in told if not forms(word) & known}


def check(row: Mapping[str, Any]) -> None:
    """Raise ``VsdError`` unless the row is a task 3 prediction with a predicted label."""
    if missing := _NEEDED - set(row):
        raise VsdError(f"row {row.get('id')!r} to refine lacks {', '.join(sorted(missing))}; describe the images again")
    if row["task"] != 3 or len(row["sentences"]) != 3:
        raise VsdError(
            f"row {row['id']!r} to refine is of task {row['task']} with {len(row['sentences'])} sentences; "
            "only the three sentences of task 3 are refined"
        )


def hopeless(row: Mapping[str, Any]) -> Reason | None:
    """Say why no rewrite of the row could be accepted, before any is generated; None when one could."""
    if row["label"] not in RELATIONS or not any(keeps(sentence, row) for sentence in row["sentences"]):
        return "unclear_original"
    return "already_diverse" if mbleu4(row["sentences"]) <= MIN_GAIN else None


def choose(row: Mapping[str, Any], candidates: Iterable[str]) -> Choice:
    """Combine the row's sentences and the candidates into the most diverse three that keep the prediction.

    A sentence of the row stays an option as long as it states the prediction itself. Fewer replaced sentences win
    among equally diverse sets. Whatever is not accepted leaves the row's sentences as they are.
    """
    originals: list[str] = list(row["sentences"])
    fresh, acceptable_rewrites, rejected = _sorted_out(row, candidates)
    if reason := hopeless(row):
        return Choice(originals, reason, acceptable_rewrites, rejected)
    if not fresh:
        failed: Reason = "no_valid_rewrite" if rejected else "no_readable_answer"
        return Choice(originals, failed, acceptable_rewrites, rejected)
    kept = {tuple(words(sentence)): sentence for sentence in originals if keeps(sentence, row)}
    # A sentence far from every original is the likeliest to lower mBLEU-4 in any combination.
    pool = sorted(fresh.values(), key=lambda text: (_likeness(text, originals), text))[:MAX_POOL]
    before = mbleu4(originals)
    best: tuple[float, int, tuple[str, ...]] | None = None
    for three in itertools.combinations([*kept.values(), *pool], 3):
        found = (round(mbleu4(three), 9), sum(sentence not in originals for sentence in three), three)
        best = min(best, found) if best else found
    if best is None or best[0] >= before - MIN_GAIN:
        return Choice(originals, "not_more_diverse", acceptable_rewrites, rejected)
    return Choice(_in_place(originals, best[2]), "accepted", acceptable_rewrites, rejected)


def choose_any(row: Mapping[str, Any], candidates: Iterable[str]) -> Choice:
    """Take three different candidates, evenly spread over all, whatever they say: what ``choose`` is compared with.

    Where there are fewer than three, the row's sentences stay. What ``choose`` would say of the candidates is counted.
    """
    candidates = list(candidates)
    _, acceptable_rewrites, rejected = _sorted_out(row, candidates)
    different = list({tuple(words(candidate)): candidate for candidate in reversed(candidates)}.values())[::-1]
    if len(different) < 3:
        return Choice(list(row["sentences"]), "no_readable_answer", acceptable_rewrites, rejected)
    three = [different[place * len(different) // 3] for place in range(3)]
    return Choice(three, "accepted", acceptable_rewrites, rejected)


def _sorted_out(
    row: Mapping[str, Any], candidates: Iterable[str]
) -> tuple[dict[tuple[str, ...], str], int, dict[Rejection, int]]:
    """Find the acceptable candidates, each once by its words; count acceptable and, by reason, rejected ones."""
    fresh: dict[tuple[str, ...], str] = {}
    acceptable_rewrites, rejected = 0, Counter[Rejection]()
    for candidate in candidates:
        if refusal := rejection(candidate, row):
            rejected[refusal] += 1
        else:
            acceptable_rewrites += 1
            fresh.setdefault(tuple(words(candidate)), candidate)
    return fresh, acceptable_rewrites, dict(sorted(rejected.items()))


def _likeness(sentence: str, originals: Sequence[str]) -> float:
    pairs = set(itertools.pairwise(words(sentence)))
    shared = [len(pairs & set(itertools.pairwise(words(original)))) for original in originals]
    return sum(shared) / len(pairs)


def _in_place(originals: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Put sentences that stay where they were, and the new ones into the other positions in order."""
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


def refined(row: Mapping[str, Any], choice: Choice, readings: Sequence[Reading] = ()) -> dict[str, Any]:
    """Make the refined row of a task 3 row, in the form of the table at the top.

    ``readings`` are those of all answers to the row, of unreadable ones too; none where nothing was asked.
    """
    unreadable = Counter(reading.unreadable for reading in readings if reading.unreadable)
    return {
        **row,
        "sentences": choice.sentences,
        "accepted": choice.reason == "accepted",
        "reason": choice.reason,
        "original": list(row["sentences"]),
        "readable_answers": len(readings) - unreadable.total(),
        "unreadable_answers": dict(sorted(unreadable.items())),
        "acceptable_rewrites": choice.acceptable_rewrites,
        "rejected_rewrites": dict(choice.rejected_rewrites),
    }


def select(rows: Sequence[Mapping[str, Any]], count: int, seed: int) -> set[str]:
    """Sample the ids of ``count`` rows to refine (0: all), by ``seed`` from the ids alone, whatever their order."""
    ids = sorted(row["id"] for row in rows)
    return set(ids if count == 0 or count >= len(ids) else random.Random(seed).sample(ids, count))


def tally(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count refined rows by reason, the most frequent first."""
    return dict(Counter(row["reason"] for row in rows).most_common())


def tally_answers(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """Count the answers, and the rewrites read from them, of refined rows by what became of them.

    Keys are ("answers", "readable" or why not) and ("rewrites", "acceptable" or why not), the good ones first and then
    the most frequent.
    """
    rows = list(rows)
    unreadable, rejected = Counter[str](), Counter[str]()
    for row in rows:
        unreadable.update(row["unreadable_answers"])
        rejected.update(row["rejected_rewrites"])
    found = {("answers", "readable"): sum(row["readable_answers"] for row in rows)}
    found |= {("answers", f"unreadable: {reason}"): number for reason, number in unreadable.most_common()}
    found["rewrites", "acceptable"] = sum(row["acceptable_rewrites"] for row in rows)
    return found | {("rewrites", f"rejected: {reason}"): number for reason, number in rejected.most_common()}
