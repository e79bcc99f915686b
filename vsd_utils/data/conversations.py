"""Conversations: the instruction data of the three tasks, as LLaVA's JSON and as the rows that TRL trains on.

Task 1 asks once for each triple, task 2 once for each distinct VSDv1 caption (the split of the paper's 121,339
conversations over the tasks is not published; this reading gives about that many), task 3 once for each image with at
least three distinct captions: two of VSDv1 and the VSDv2 one. The three stand in a fixed order of forms, as in the
paper's example: a bare phrase, a "there is" sentence, the longer sentence.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from vsd_utils.data.prompts import IMAGE, SENTENCE_BREAK, messages, question
from vsd_utils.data.samples import PicturedTriple, Sample

_VERBS = frozenset({"is", "are", "was", "were", "has", "have", "can"})


class Conversation(BaseModel):
    """Hold one question about one pair in one picture, with its answer.

    ``id`` is the triple's; where task 2 asks several times about one triple, with a count: ``7#0/2``.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    image: str
    task: int
    subject: str
    object: str
    relation: str
    question: str
    answer: str


def converse(
    sample: Sample, task2_captions: int, task3_captions: Literal["v1"] | None = None
) -> Iterator[Conversation]:
    """Yield the conversations of one image, task by task.

    ``task2_captions`` limits those of task 2; 0 means one for each distinct VSDv1 caption. ``task3_captions`` as in
    ``three_captions``.
    """
    for number, triple in enumerate(sample.triples):
        yield _conversation(sample.triple_id(number), 1, triple, triple.relation)
    asked_about: Counter[int] = Counter()
    for caption in distinct(sample.captions_v1)[: task2_captions or None]:
        number = _triple_named_by(caption, sample)
        yield _conversation(f"{sample.triple_id(number)}/{asked_about[number]}", 2, sample.triples[number], caption)
        asked_about[number] += 1
    if captions := three_captions(sample, task3_captions):
        yield _conversation(sample.triple_id(0), 3, sample.triples[0], SENTENCE_BREAK.join(captions))


def three_captions(sample: Sample, third: Literal["v1"] | None = None) -> tuple[str, str, str] | None:
    """Choose the answer of task 3: bare phrase, "there is" sentence, VSDv2 sentence; None with fewer distinct captions.

    The order of forms is that of the one example in the figures of ``swordlidev/LLaVA-VSD``. Where an image has no
    caption of a form, the nearest stands in its place. With ``third`` "v1" that is one of VSDv1 as well, as for a model
    that is not fine-tuned on VSDv2; images with two captions of VSDv1 then have no conversation of task 3.
    """
    # 1. The last sentence is the first VSDv2 caption, else of VSDv1; the other two are VSDv1's and differ from it.
    v1_captions = distinct(sample.captions_v1)
    if third is None:
        v1_captions = [caption for caption in v1_captions if caption.lower() != sample.captions_v2[0].lower()]
    if len(v1_captions) < (2 if third is None else 3):
        return None
    # 2. The barest of these; of several the first.
    forms = [_form(caption) for caption in v1_captions]
    barest = forms.index(min(forms))
    # 3. Of the rest the one nearest to "there is"; of several the first.
    rest = [number for number in range(len(forms)) if number != barest]
    fullest = max(rest, key=lambda number: (forms[number], -number))
    # 4. Without VSDv2, the first of those that are left.
    last = sample.captions_v2[0] if third is None else next(v1_captions[n] for n in rest if n != fullest)
    return v1_captions[barest], v1_captions[fullest], last


def distinct(captions: Iterable[str]) -> list[str]:
    """Keep the first caption of those that differ only in case."""
    first: dict[str, str] = {}
    for caption in captions:
        first.setdefault(caption.lower(), caption)
    return list(first.values())


def llava_record(conversation: Conversation) -> dict[str, Any]:
    """Write a conversation in LLaVA's training format (``id``, ``image``, ``conversations``), with its triple."""
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
    """Make a prompt/completion row for TRL's ``SFTTrainer``; its image is a path, put before the question later."""
    return {
        "id": f"{conversation.id}/task{conversation.task}",
        "image": conversation.image,
        "prompt": messages(conversation.question, system_prompt),
        "completion": [{"role": "assistant", "content": conversation.answer}],
    }


def count(conversations: Iterable[Conversation]) -> dict[str, dict[str, int]]:
    """Count conversations by task and relation: ``{"1": {"on": 3, ...}, ...}``."""
    counts = Counter((str(conversation.task), conversation.relation) for conversation in conversations)
    table: dict[str, dict[str, int]] = {}
    for (task, relation), number in sorted(counts.items()):
        table.setdefault(task, {})[relation] = number
    return table


def _conversation(conversation_id: str, task: int, triple: PicturedTriple, answer: str) -> Conversation:
    return Conversation(
        id=conversation_id,
        image=triple.image,
        task=task,
        subject=triple.subject,
        object=triple.object,
        relation=triple.relation,
        question=question(task, triple.subject, triple.object),
        answer=answer,
    )


def _form(caption: str) -> int:
    """Tell the form of a caption: 0 a bare phrase, 1 a sentence, 2 a sentence that begins with "there is"."""
    words = caption.lower().split()
    if words[:1] == ["there"]:
        return 2
    return int(not _VERBS.isdisjoint(words))


def _triple_named_by(caption: str, sample: Sample) -> int:
    """Find the number of the first triple both of whose names the caption holds; 0 where it names none."""
    return next(
        (
            number
            for number, triple in enumerate(sample.triples)
            if _holds(caption, triple.subject) and _holds(caption, triple.object)
        ),
        0,
    )


def _holds(caption: str, name: str) -> bool:
    # Whole words: a "man" is not in a "woman".
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", caption, re.IGNORECASE) is not None
