"""Rewriting the three sentences of images with a server's chat model, answer by answer, so that a killed run goes on.

The prompts, what is read from an answer and what is accepted are those of the local model. Every candidate is a request
of its own, because few servers give several answers to one, and each has its own seed, which few servers keep to.
"""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from vsd_utils.common.resume import Row
from vsd_utils.models.endpoint import Answer, Request, Server, Size
from vsd_utils.refine.local_model import Settings
from vsd_utils.refine.rewriting import chats_about, judged
from vsd_utils.refine.selection import Choice, check, refined


def refine(
    rows: Sequence[Row], selected: Collection[str], server: Server, settings: Settings, unfinished: Path
) -> list[Row]:
    """Refine as ``rewriting.refine`` does, with a server's answers; rows that it was asked about say ``served_by``.

    Answers are kept in the file ``unfinished`` one by one; the file is the caller's to remove. Raises ``VsdError`` for
    a row that cannot be refined, and when an answer cannot be had; what was answered is kept.
    """
    asked = _asked(rows, selected, settings)
    answers = server.finish(asked, lambda row: _request(row, settings), _answered, unfinished, _identity)
    of_row: dict[str, list[str | None]] = {}
    for row in asked:
        of_row.setdefault(row["id"], []).append(answers[_identity(row)]["text"])

    def finished(row: Row) -> Row:
        if row["id"] not in selected:
            return refined(row, Choice(row["sentences"], "not_selected"))
        served = {"served_by": server.served_by} if row["id"] in of_row else {}
        return judged(row, of_row.get(row["id"], []), settings) | served

    return [finished(row) for row in rows]


def sizes(rows: Sequence[Row], selected: Collection[str], settings: Settings) -> list[Size]:
    """Measure what the requests send, for ``Server.estimate``."""
    return [
        Size(sum(len(turn["content"]) for turn in row["messages"]), 0, settings.max_new_tokens)
        for row in _asked(rows, selected, settings)
    ]


def _asked(rows: Sequence[Row], selected: Collection[str], settings: Settings) -> list[Row]:
    """List the requests: each candidate of each chat about each selected row."""
    wanted = [row for row in rows if row["id"] in selected]
    for row in wanted:
        check(row)
    return [
        {"id": row["id"], "chat": number, "candidate": candidate, "messages": chat}
        for row in wanted
        for number, chat in enumerate(chats_about(row, settings))
        for candidate in range(settings.candidates)
    ]


def _request(row: Row, settings: Settings) -> Request:
    digest = hashlib.sha256(f"{settings.seed} {_identity(row)}".encode()).digest()
    fields: dict[str, Any] = {
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "seed": int.from_bytes(digest[:4], "big") >> 1,  # 31 bits, which every server takes
    }
    return Request(row["messages"], fields)


def _answered(row: Row, said: Answer) -> Row:
    kept = {name: value for name, value in row.items() if name != "messages"}
    return {**kept, "text": said.text if said.whole else None}


def _identity(row: Row) -> tuple[str, int, int]:
    return row["id"], row["chat"], row["candidate"]
