"""Say what the batches of a training hold: how often pictures are read, and how many tokens have to fit at once.

With ``finetune.packing`` "shared_image" a row of the trainer is a pack of pictures with their conversations
(``finetune/packing/packs.py``), with "none" a conversation. Imports nothing heavy: the pre-flight asks here, too.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from vsd_utils.common.sections import Finetune
from vsd_utils.data.splits import AUTHORS_IMAGES
from vsd_utils.finetune.packing.packs import Part, arrange

# Of the authors' 2,927 validation images: triples, distinct VSDv1 captions, images with three distinct captions.
VAL_CONVERSATIONS = {1: 3_138, 2: 11_871, 3: 2_462}
# And by number of conversations, how many of their 3,138 pictures, one a triple, are asked about so often.
VAL_PICTURES = dict(enumerate((205, 468, 7, 66, 387, 869, 767, 221, 56, 27, 14, 10, 5, 5, 5, 4, 8, 3, 4), start=1))
VAL_PICTURES |= {21: 3, 22: 1, 24: 1, 27: 1, 35: 1}


class Batches(NamedTuple):
    """Hold what one pass over the training data takes, and the most that a batch holds.

    ``rows`` of the trainer, ``in_batch`` of them in a batch; ``pictures`` that are read, one as often as it is read;
    ``most_pictures`` and ``most_conversations`` of a batch.
    """

    rows: int
    in_batch: int
    pictures: int
    most_pictures: int
    most_conversations: int

    def most_tokens(self, image: float, before: float, text: float) -> float:
        """Count the tokens of a batch as large as one can be.

        ``image`` tokens of a picture; ``text`` tokens of a conversation, of which ``before`` stand before the picture.
        """
        return self.most_pictures * (image + before) + self.most_conversations * (text - before)


def batches(settings: Finetune, conversations: int, pictures: Sequence[int], seed: int) -> Batches:
    """Work out the batches of ``conversations``, of which ``pictures`` says how many are about each picture."""
    size = settings.per_device_train_batch_size
    if settings.packing == "none":  # each conversation brings its picture
        return Batches(conversations, size, conversations, size, size)
    packs = _arranged(tuple(pictures), size, seed)
    return Batches(len(packs), 1, sum(map(len, packs)), max(map(len, packs), default=0), size)


def usual_conversations(task2_captions: int) -> dict[int, int]:
    """Count the validation files' conversations by task, with at most so many of task 2 an image (0: all)."""
    limit = task2_captions * AUTHORS_IMAGES["val"] or VAL_CONVERSATIONS[2]
    return VAL_CONVERSATIONS | {2: min(limit, VAL_CONVERSATIONS[2])}


def usual_pictures(task2_captions: int) -> list[int]:
    """Count the validation files' conversations about each picture; with fewer of task 2, in proportion."""
    share = sum(usual_conversations(task2_captions).values()) / sum(VAL_CONVERSATIONS.values())
    return [max(1, round(count * share)) for count, pictures in VAL_PICTURES.items() for _ in range(pictures)]


def spread(counts: Sequence[int], number: int) -> list[int]:
    """Take ``number`` of ``counts``, evenly spread, each several times where there are less; all in their order."""
    return [counts[place * len(counts) // number] for place in range(number)]


# A search for a batch that fits asks for the same again and again.
@lru_cache(maxsize=16)
def _arranged(pictures: tuple[int, ...], most_conversations: int, seed: int) -> list[list[Part]]:
    return arrange(pictures, most_conversations, seed)
