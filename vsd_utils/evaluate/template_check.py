"""Check the conversations: can the pair be read back from a question, and does the answer state the pair's relation?

For each record as LLaVA's JSON has it. The names are read back from the question alone (``prompts.read_question``).
The relation is read from the answer: in task 1 from the question's sentence with the answer put into its blank, in
tasks 2 and 3 from each sentence; by the rules, and by the learned checker for images that it was not trained on.
"""

import functools
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.prompts import IMAGE, TASKS, read_question
from vsd_utils.evaluate.audit_scores import HeldOutCheckers
from vsd_utils.metrics.relation_checker import states_relation
from vsd_utils.metrics.relation_learned import Claim

NOTES = (
    "read back: task and both names are read from the question alone, in % of the conversations.",
    "rules, learned: sentences of the answer in which they read the pair's relation, in %; in task 1 the question's "
    "sentence with the answer put into its blank; three sentences an answer in task 3.",
    "no sentence, rules: conversations in none of whose sentences the rules read it; learned, neither: of the held-out "
    "sentences, of images that the learned checker was not trained on.",
)


@dataclass(frozen=True)
class CheckedSentence:
    """Hold one sentence of an answer and who reads the pair's relation in it.

    ``learned`` is None where the image is one that the learned checker was trained on.
    """

    conversation: int
    task: int
    subject: str
    object: str
    relation: str
    sentence: str
    rules: bool
    learned: bool | None


@dataclass(frozen=True)
class TemplateCheck:
    """Hold the sentences of all conversations, and by conversation whether task and names were read back."""

    sentences: Sequence[CheckedSentence]
    read_back: Sequence[bool]
    tasks: Sequence[int]
    relations: Sequence[str]


def check_templates(
    records: Sequence[Mapping[str, Any]], checkers: HeldOutCheckers | None = None, held_out: Iterable[str] = ()
) -> TemplateCheck:
    """Check conversations in LLaVA's format (``conversations.llava_record``).

    ``checkers`` read the sentences of the images in ``held_out``; the others are read by the rules alone.
    """
    allowed = frozenset(held_out) if checkers else frozenset()
    # 1. Each record's sentences, with the image that they are about.
    texts = [(number, text) for number, record in enumerate(records) for text in _sentences(record)]
    images = [str(record["id"]).rpartition("#")[0] for record in records]
    # 2. The learned checker, all of its sentences at once.
    asked = [place for place, (number, _) in enumerate(texts) if images[number] in allowed]
    claims = [(images[texts[place][0]], _claim(records[texts[place][0]], texts[place][1])) for place in asked]
    answers = dict(zip(asked, checkers.relations(claims), strict=True)) if checkers else {}
    # 3. Together.
    checked = []
    for place, (number, text) in enumerate(texts):
        triple, claim = records[number]["triple"], _claim(records[number], text)
        learned = answers[place] == triple["p"] if place in answers else None
        rules = _states(*claim, triple["p"])
        task = int(records[number]["task"])
        checked.append(CheckedSentence(number, task, *claim[1:], triple["p"], text, rules, learned))
    return TemplateCheck(
        checked,
        [_read_back(record) for record in records],
        [int(record["task"]) for record in records],
        [record["triple"]["p"] for record in records],
    )


def share_table(check: TemplateCheck) -> pd.DataFrame:
    """Show by task and relation how much was read back, in %; empty where there is nothing to read.

    "no sentence, rules" is of conversations; "learned" and "neither" are of the held-out sentences.
    """
    rows = []
    for task in TASKS:
        for relation in (None, *RELATIONS):
            chosen = {
                number
                for number, (its_task, its_relation) in enumerate(zip(check.tasks, check.relations, strict=True))
                if its_task == task and relation in (None, its_relation)
            }
            if chosen:
                sentences = [sentence for sentence in check.sentences if sentence.conversation in chosen]
                rows.append({"task": str(task), "relation": relation or "all"} | _row(check, chosen, sentences))
    return pd.DataFrame(rows)


def example_table(check: TemplateCheck, count: int, seed: int) -> pd.DataFrame:
    """Draw for each task ``count`` sentences in which neither checker reads the pair's relation."""
    generator = random.Random(seed)
    rows = []
    for task in TASKS:
        unread = [one for one in check.sentences if one.task == task and not one.rules and one.learned is False]
        for one in generator.sample(unread, min(count, len(unread))):
            pair = {"task": str(task), "subject": one.subject, "relation": one.relation, "object": one.object}
            rows.append(pair | {"sentence": one.sentence})
    return pd.DataFrame(rows, columns=["task", "subject", "relation", "object", "sentence"])


_states = functools.lru_cache(maxsize=1 << 17)(states_relation)  # captions repeat


def _row(check: TemplateCheck, chosen: set[int], sentences: Sequence[CheckedSentence]) -> dict[str, str]:
    stating = {one.conversation for one in sentences if one.rules}
    held_out = [one for one in sentences if one.learned is not None]
    return {
        "conversations": str(len(chosen)),
        "read back": _percent(check.read_back[number] for number in chosen),
        "sentences": str(len(sentences)),
        "rules": _percent(one.rules for one in sentences),
        "no sentence, rules": _percent(number not in stating for number in chosen),
        "held-out sentences": str(len(held_out)),
        "learned": _percent(bool(one.learned) for one in held_out),
        "neither": _percent(not one.rules and not one.learned for one in held_out),
    }


def _percent(found: Iterable[bool]) -> str:
    values = list(found)
    return f"{100 * sum(values) / len(values):.1f}" if values else ""


def _read_back(record: Mapping[str, Any]) -> bool:
    question = record["conversations"][0]["value"].removeprefix(f"{IMAGE}\n")
    try:
        found = read_question(question)
    except ValueError:
        return False
    return found == (record["task"], record["triple"]["s"], record["triple"]["o"])


def _sentences(record: Mapping[str, Any]) -> list[str]:
    """Give the sentences of an answer; of task 1 the question's own sentence, completed."""
    answer = record["conversations"][1]["value"]
    if record["task"] == 1:
        asked = record["conversations"][0]["value"].rsplit("'. Select from:", 1)[0].split("sentence: '", 1)[-1]
        return [asked.replace("[BLANK]", answer)]
    return [line.strip() for line in answer.splitlines()] if record["task"] == 3 else [answer]


def _claim(record: Mapping[str, Any], sentence: str) -> Claim:
    return Claim(sentence, record["triple"]["s"], record["triple"]["o"])
