"""Which pictures make up a micro-batch: packs of whole pictures with all the conversations about each.

A trainer is given packs as its rows, one a micro-batch. So many conversations about so few pictures take fewer tokens
than as many drawn one by one; that a step holds whole pictures is what differs from drawing them one by one.
"""

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from vsd_utils.data.photos import open_photo

Row = dict[str, Any]
_OPEN_PACKS = 64  # how many packs wait for a picture that fits: more fill better, fewer keep the drawn order


class Picture(NamedTuple):
    """A picture's file and conversations about it: prompt/completion rows."""

    image: str
    conversations: list[Row]


Pack = list[Picture]


def by_picture(rows: Sequence[Row]) -> list[Picture]:
    """Bring together the rows about each picture (their field "image"), in the order of their first rows."""
    found: dict[str, Picture] = {}
    for row in rows:
        found.setdefault(row["image"], Picture(row["image"], [])).conversations.append(row)
    return list(found.values())


def pack(rows: Sequence[Row], most_conversations: int, seed: int) -> list[Pack]:
    """Put whole pictures together into packs of at most ``most_conversations`` rows, in an order drawn by seed.

    A picture with more of them is cut into several. A pack also holds at most one picture more than that many
    conversations have on average, so that pictures with a single conversation do not make one that fills the memory.
    """
    # 1. Pictures, none with more conversations than a pack may have.
    pictures = [part for picture in by_picture(rows) for part in _cut(picture, most_conversations)]
    most_pictures = math.ceil(most_conversations * len(pictures) / max(1, len(rows))) + 1
    random.Random(seed).shuffle(pictures)
    # 2. Each into the fullest of the open packs that has room for it, else into a new one.
    done: list[Pack] = []
    waiting: list[Pack] = []
    for picture in pictures:
        room = most_conversations - len(picture.conversations)
        fitting = [one for one in waiting if _conversations(one) <= room and len(one) < most_pictures]
        if fitting:
            max(fitting, key=_conversations).append(picture)
            continue
        waiting.append([picture])
        if len(waiting) > _OPEN_PACKS:
            fullest = max(range(len(waiting)), key=lambda place: (_conversations(waiting[place]), -place))
            done.append(waiting.pop(fullest))
    return done + waiting


def pack_rows(packs: Sequence[Pack], folder: Path) -> Dataset:
    """Make the packs the rows of a dataset whose images, files below ``folder``, are loaded when a row is asked for.

    A row has ``images`` and, for each of them, ``conversations``: prompts and completions.
    """
    dataset = Dataset.from_list(
        [
            {
                "files": [picture.image for picture in one],
                "conversations": [
                    [{key: row[key] for key in ("prompt", "completion")} for row in picture.conversations]
                    for picture in one
                ],
            }
            for one in packs
        ]
    )
    return dataset.with_transform(
        lambda batch: {
            "images": [[open_photo(folder / name) for name in names] for names in batch["files"]],
            "conversations": batch["conversations"],
        }
    )


def spread_pictures(rows: Sequence[Row], count: int) -> list[Row]:
    """Take rows of whole pictures, evenly spread, about ``count`` in all; all of them where there are less."""
    pictures = by_picture(rows)
    wanted = max(1, round(len(pictures) * count / max(1, len(rows))))
    if wanted >= len(pictures):
        return list(rows)
    chosen = [pictures[index * len(pictures) // wanted] for index in range(wanted)]
    return [row for picture in chosen for row in picture.conversations]


def _cut(picture: Picture, most: int) -> list[Picture]:
    rows = picture.conversations
    return [Picture(picture.image, rows[start : start + most]) for start in range(0, len(rows), most)]


def _conversations(one: Pack) -> int:
    return sum(len(picture.conversations) for picture in one)
