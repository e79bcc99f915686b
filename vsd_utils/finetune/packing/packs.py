"""Which pictures come into which pack, by the numbers of their conversations alone.

Imports nothing heavy, so that a plan counts the packs that the training will make.
"""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

_OPEN_PACKS = 64  # how many packs wait for a picture that fits: more fill better, fewer keep the drawn order


class Part(NamedTuple):
    """The conversations of the picture with number ``picture`` from ``start`` to before ``stop``; mostly all."""

    picture: int
    start: int
    stop: int

    @property
    def conversations(self) -> int:
        """Count the conversations."""
        return self.stop - self.start


class _Open:
    """A pack that pictures are still put into, with the number of their conversations."""

    def __init__(self, first: Part) -> None:
        self.parts, self.conversations = [first], first.conversations

    def add(self, part: Part) -> None:
        self.parts.append(part)
        self.conversations += part.conversations


def arrange(conversations: Sequence[int], most_conversations: int, seed: int) -> list[list[Part]]:
    """Put whole pictures together into packs of at most ``most_conversations`` rows, in an order drawn by seed.

    ``conversations`` is the number of rows about each picture. A picture with more than a pack may have is cut into
    several parts. A pack holds no more pictures than that many conversations have on average, rounded up, so that
    pictures with a single conversation do not make one that fills the memory.
    """
    # 1. Pictures, none with more conversations than a pack may have.
    parts = [part for picture, count in enumerate(conversations) for part in _cut(picture, count, most_conversations)]
    most_pictures = math.ceil(most_conversations * len(parts) / max(1, sum(conversations)))
    random.Random(seed).shuffle(parts)
    # 2. Each into the fullest of the open packs that has room for it, else into a new one.
    done: list[_Open] = []
    waiting: list[_Open] = []
    for part in parts:
        room = most_conversations - part.conversations
        fitting = [one for one in waiting if one.conversations <= room and len(one.parts) < most_pictures]
        if fitting:
            max(fitting, key=lambda one: one.conversations).add(part)
            continue
        waiting.append(_Open(part))
        if len(waiting) > _OPEN_PACKS:
            fullest = max(range(len(waiting)), key=lambda place: (waiting[place].conversations, -place))
            done.append(waiting.pop(fullest))
    return [one.parts for one in done + waiting]


def _cut(picture: int, count: int, most: int) -> list[Part]:
    return [Part(picture, start, min(start + most, count)) for start in range(0, count, most)]
