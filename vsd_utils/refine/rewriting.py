"""Rewriting the three sentences of images with a chat model, batch by batch, so that a killed run goes on.

Batches are fixed by the order of the rows and every batch has its own seed, so a run that was killed and resumed gives
the same rows as one that was not. What is sampled depends on ``batch_size``: the rows of a batch share one random
stream.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vsd_utils.common.resume import Row, batches_of, finish_batches
from vsd_utils.refine.chat_answers import read
from vsd_utils.refine.grammar import rewrites
from vsd_utils.refine.local_model import Settings, generate
from vsd_utils.refine.prompts import conversations
from vsd_utils.refine.selection import Choice, check, choose, choose_any, hopeless, refined


def refine(
    rows: Sequence[Row], selected: Collection[str], model: Any, tokenizer: Any, settings: Settings, unfinished: Path
) -> list[Row]:
    """Refine the rows whose ids are ``selected`` and return all of them, in their order (``selection``: its table).

    ``rows`` are task 3 predictions with "label", the relation that the same model predicted for the pair. Finished ones
    are kept in the file ``unfinished`` batch by batch, and what a killed run left there is not rewritten again
    (``resume.finish_batches``); the file is the caller's to remove. Raises ``VsdError`` for a row without these fields.
    """
    wanted = [row for row in rows if row["id"] in selected]
    for row in wanted:
        check(row)

    def work(left: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
        return (rewrite(batch, model, tokenizer, settings) for batch in left)

    rewritten = finish_batches(list(batches_of(wanted, settings.batch_size)), work, unfinished)
    return [
        rewritten[row["id"]] if row["id"] in selected else refined(row, Choice(row["sentences"], "not_selected"))
        for row in rows
    ]


def rewrite(batch: Sequence[Row], model: Any, tokenizer: Any, settings: Settings) -> list[Row]:
    """Rewrite one batch with a random stream of its own, which depends on the seed and the first row's id."""
    # 1. The chats of all rows; a row without any draws nothing from the random stream.
    chats = [(row["id"], chat) for row in batch for chat in chats_about(row, settings)]
    # 2. The candidates of all chats at once, then by row.
    digest = hashlib.sha256(f"{settings.seed} {batch[0]['id']}".encode()).digest()
    seed = int.from_bytes(digest[:8], "big") >> 1  # 63 bits, which torch takes
    candidates = generate([chat for _, chat in chats], model, tokenizer, settings, seed)
    answers: dict[str, list[str | None]] = {row["id"]: [] for row in batch}
    for (identity, _), of_chat in zip(chats, candidates, strict=True):
        answers[identity] += of_chat
    # 3. Read and judged.
    return [judged(row, answers[row["id"]], settings) for row in batch]


def chats_about(row: Mapping[str, Any], settings: Settings) -> list[list[dict[str, str]]]:
    """Write the chats that ask about a row: none if no rewrite could be accepted, unless the settings want it asked.

    The prompt "grammar" asks nobody.
    """
    if settings.prompt == "grammar":
        return []
    asked = settings.ask_hopeless or settings.accept_any or hopeless(row) is None
    return conversations(row, settings.prompt) if asked else []


def judged(row: Mapping[str, Any], answers: Sequence[str | None], settings: Settings) -> Row:
    """Make the refined row of all answers to a row; None stands for an answer that was cut off."""
    if settings.prompt == "grammar":
        answers = ["\n".join(rewrites(row))]
    readings = [read(answer, settings.prompt, [row["subject"], row["object"]]) for answer in answers]
    candidates = [sentence for reading in readings for sentence in reading.sentences]
    return refined(row, (choose_any if settings.accept_any else choose)(row, candidates), readings)
