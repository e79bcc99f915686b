"""Conversations: the instruction data of the three tasks, as LLaVA's JSON and as the rows that TRL trains on.

Task 1 asks once for each triple, task 2 once for each distinct VSDv1 caption (the split of the paper's 121,339
conversations over the tasks is not published; this reading gives about that many), task 3 once for each image with at
least three distinct captions: two of VSDv1 and the VSDv2 one. The three stand in a fixed order of forms, as in the
paper's example: a bare phrase, a "there is" sentence, the longer sentence.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from vsd_utils.data.prompts import IMAGE, SENTENCE_BREAK, messages, question
from vsd_utils.data.samples import Pair, Sample

_VERBS = frozenset({"is", "are", "was", "were", "has", "have", "can"})


class Conversation(BaseModel):
    """One question about one pair in one picture, with its answer. ``id`` is the triple's, the task's and a count."""

    model_config = ConfigDict(frozen=True)

    id: str
    image: str
    task: int
    subject: str
    object: str
    relation: str
    question: str
    answer: str


def converse(sample: Sample, task2_captions: int = 0) -> Iterator[Conversation]:
    """The conversations of one image; at most ``task2_captions`` of task 2, 0 meaning one for each distinct caption."""
    for number, pair in enumerate(sample.triples):
        yield _conversation(sample.triple_id(number), 1, pair, pair.relation)
    counts: Counter[int] = Counter()
    for caption in _distinct(sample.captions_v1)[: task2_captions or None]:
        number = _speaks_of(sample, caption)
        yield _conversation(f"{sample.triple_id(number)}/{counts[number]}", 2, sample.triples[number], caption)
        counts[number] += 1
    if three := three_captions(sample):
        yield _conversation(sample.triple_id(0), 3, sample.triples[0], SENTENCE_BREAK.join(three))


def three_captions(sample: Sample) -> tuple[str, str, str] | None:
    """The answer of task 3: bare phrase, "there is" sentence, VSDv2 sentence; None with fewer distinct captions."""
    last = sample.captions_v2[0]
    first_two = [caption for caption in _distinct(sample.captions_v1) if caption.lower() != last.lower()]
    if len(first_two) < 2:
        return None
    forms = [_form(caption) for caption in first_two]
    barest = forms.index(min(forms))
    others = [number for number in range(len(forms)) if number != barest]
    fullest = max(others, key=lambda number: (forms[number], -number))
    return first_two[barest], first_two[fullest], last


def llava_record(conversation: Conversation) -> dict[str, Any]:
    """LLaVA's training format (``id``, ``image``, ``conversations``), and the triple that the answer is about."""
    return {
        "id": f"{conversation.id}/task{conversation.task}",
        "image": conversation.image,
        "conversations": [
            {"from": "human", "value": f"{IMAGE}\n{conversation.question}"},
            {"from": "gpt", "value": conversation.answer},
        ],
        "task": conversation.task,
        "triple": {"s": conversation.subject, "o": conversation.object, "p": conversation.relation},
    }


def training_row(conversation: Conversation, system_prompt: str) -> dict[str, Any]:
    """A prompt/completion row for TRL's ``SFTTrainer``; the image is a path, put before the question on loading."""
    return {
        "id": f"{conversation.id}/task{conversation.task}",
        "image": conversation.image,
        "prompt": messages(conversation.question, system_prompt),
        "completion": [{"role": "assistant", "content": conversation.answer}],
    }


def count(conversations: Iterable[Conversation]) -> dict[str, dict[str, int]]:
    """Conversations per task and relation: ``{"1": {"on": 3, ...}, ...}``."""
    counts = Counter((str(conversation.task), conversation.relation) for conversation in conversations)
    table: dict[str, dict[str, int]] = {}
    for (task, relation), number in sorted(counts.items()):
        table.setdefault(task, {})[relation] = number
    return table


def _conversation(id: str, task: int, pair: Pair, answer: str) -> Conversation:
    return Conversation(
        id=id,
        image=pair.image,
        task=task,
        subject=pair.subject,
        object=pair.object,
        relation=pair.relation,
        question=question(task, pair.subject, pair.object),
        answer=answer,
    )


def _distinct(captions: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    for caption in captions:
        first.setdefault(caption.lower(), caption)
    return list(first.values())


def _form(caption: str) -> int:
    """0 a bare phrase, 1 a sentence, 2 a sentence that begins with "there is"."""
    words = caption.lower().split()
    if words[:1] == ["there"]:
        return 2
    return int(not _VERBS.isdisjoint(words))


def _speaks_of(sample: Sample, caption: str) -> int:
    """Number of the first triple both of whose names the caption holds; 0 where it names none."""
    return next(
        (
            number
            for number, pair in enumerate(sample.triples)
            if _names(caption, pair.subject) and _names(caption, pair.object)
        ),
        0,
    )


def _names(caption: str, name: str) -> bool:
    # Whole words: a "man" is not in a "woman".
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", caption, re.IGNORECASE) is not None
