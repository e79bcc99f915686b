"""Which pictures make up a micro-batch: packs of whole pictures with all the conversations about each.

A trainer is given packs as its rows, one a micro-batch. So many conversations about so few pictures take fewer tokens
than as many drawn one by one; that a step holds whole pictures is what differs from drawing them one by one.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from vsd_utils.data.photos import open_photo
from vsd_utils.finetune.packing.packs import Part, arrange

Row = dict[str, Any]


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
    """Put whole pictures together into packs of at most ``most_conversations`` rows, as ``packs.arrange`` says."""
    pictures = by_picture(rows)
    packs = arrange([len(picture.conversations) for picture in pictures], most_conversations, seed)
    return [[_part(pictures[part.picture], part) for part in one] for one in packs]


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


def _part(picture: Picture, part: Part) -> Picture:
    return Picture(picture.image, picture.conversations[part.start : part.stop])
