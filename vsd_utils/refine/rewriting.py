"""Rewriting rows with a chat model, batch by batch.

Batches are fixed by the order of the rows and every batch has its own seed, so a run that was killed and resumed gives
the same rows as one that was not. What is sampled depends on ``batch_size``: the rows of a batch share one random
stream.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from vsd_utils.refine.chat_answers import Prompt, read
from vsd_utils.refine.local_model import Settings, generate
from vsd_utils.refine.prompts import conversations
from vsd_utils.refine.selection import check, choose, hopeless, refined


def refine(
    rows: Sequence[Mapping[str, Any]], model: Any, tokenizer: Any, settings: Settings, done: AbstractSet[str]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the refined rows batch by batch, without those whose id is in ``done``.

    ``rows`` are task 3 predictions with "label", the relation that the same model predicted for the pair. Give the
    same rows again after an interruption: a batch of which only a part is done is drawn again, and gives the same.
    Raises ``VsdError`` for a row without these fields.
    """
    for row in rows:
        check(row)
    for start in range(0, len(rows), settings.batch_size):
        batch = rows[start : start + settings.batch_size]
        if all(row["id"] in done for row in batch):
            continue
        open_rows = [row for row in batch if hopeless(row) is None]
        chats = [(row["id"], chat) for row in open_rows for chat in conversations(row, settings.prompt)]
        digest = hashlib.sha256(f"{settings.seed} {batch[0]['id']}".encode()).digest()
        texts = generate(
            [chat for _, chat in chats], model, tokenizer, settings, int.from_bytes(digest[:8], "big") >> 1
        )
        answers: dict[str, list[str | None]] = {row["id"]: [] for row in batch}
        for (identity, _), of_chat in zip(chats, texts, strict=True):
            answers[identity] += of_chat
        yield [_judged(row, answers[row["id"]], settings.prompt) for row in batch if row["id"] not in done]


def _judged(row: Mapping[str, Any], answers: Sequence[str | None], prompt: Prompt) -> dict[str, Any]:
    readings = [read(answer, prompt, [row["subject"], row["object"]]) for answer in answers]
    return refined(row, choose(row, [sentence for reading in readings for sentence in reading.sentences]), readings)
