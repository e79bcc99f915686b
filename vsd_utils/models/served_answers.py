"""Answers of a server's vision-language model to the questions that ours is asked, with the same pictures and texts.

Rows are those of ``answering`` and ``served_by`` (``base_url``, ``model``). Such a model was not taught the form of
an answer, so list marks, quotes and emphasis round a line are taken off, and a line that is one of the nine relations
but for case and a full stop is that relation; ``raw`` has the text as it came.
"""

import base64
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from vsd_utils.common.resume import Row
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.prompts import messages, sentences
from vsd_utils.models.answering import SENTENCES, Settings, identity
from vsd_utils.models.endpoint import Answer, Request, Server, Size

_LIST_MARK = re.compile(r"^(?:[-*•]|[(\[]?\d{1,2}[.):\]])\s+")
_ROUND_IT = " \t*_`\"'“”"


def answer(server: Server, asked: Sequence[Row], images: Path, unfinished: Path, settings: Settings) -> list[Row]:
    """Have all rows of ``answering.questions`` answered, in their order, as greedily as the server can.

    Their pictures lie in the folder ``images``. Answers are kept in the file ``unfinished`` one by one; the file is
    the caller's to remove. Raises ``VsdError`` when an answer cannot be had; what was answered is kept.
    """

    def request(row: Row) -> Request:
        picture = {"type": "image_url", "image_url": {"url": data_url(images / row["image"])}}
        chat = _chat(row, settings.system_prompt)
        chat[-1] = {"role": "user", "content": [picture, {"type": "text", "text": row["prompt"]}]}
        return Request(chat, {"max_tokens": settings.max_new_tokens[row["task"] - 1], "temperature": 0.0})

    def answered(row: Row, said: Answer) -> Row:
        kept = {name: value for name, value in row.items() if name != "image"}
        found = read(said.text, row["task"])
        return {**kept, "raw": said.text, "sentences": found, "served_by": server.served_by}

    answers = server.finish(asked, request, answered, unfinished, identity)
    return [answers[identity(row)] for row in asked]


def sizes(asked: Sequence[Row], images: Path, settings: Settings) -> list[Size]:
    """Measure what the questions send, for ``Server.estimate``."""
    pixels: dict[str, int] = {}
    for name in {row["image"] for row in asked}:
        with Image.open(images / name) as picture:  # reads the header alone
            pixels[name] = picture.width * picture.height
    return [
        Size(
            sum(len(turn["content"]) for turn in _chat(row, settings.system_prompt)),
            pixels[row["image"]],
            settings.max_new_tokens[row["task"] - 1],
        )
        for row in asked
    ]


def data_url(path: Path) -> str:
    """Write a picture's file, as it is, as a data URL."""
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else path.suffix.lower().removeprefix(".")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def read(text: str, task: int) -> list[str]:
    """Read a server's answer to ``task``: the label of task 1, one sentence or three, without the marks round them."""
    lines = [_LIST_MARK.sub("", line.strip()).strip(_ROUND_IT) for line in text.splitlines()]
    found = sentences("\n".join(lines), SENTENCES[task])
    label = found[0].rstrip(".").strip(_ROUND_IT).casefold()
    return [label] if task == 1 and label in RELATIONS else found


def _chat(row: Row, system_prompt: str) -> list[dict[str, Any]]:
    return messages(row["prompt"], system_prompt)
