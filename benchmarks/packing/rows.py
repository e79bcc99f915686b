"""The pictures and conversations of these benchmarks: as many to a picture, as large and as long as the real ones."""

import random
from collections.abc import Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

from PIL import Image

from vsd_utils.data.conversations import Conversation, converse, training_row
from vsd_utils.data.samples import PicturedTriple, Sample
from vsd_utils.finetune.packing.rows import Pack, Picture, Row, by_picture, pack
from vsd_utils.miniature.model.architecture import make_tokenizer
from vsd_utils.miniature.scenes.dataset import captions
from vsd_utils.miniature.scenes.scene import compose, render

# Of VSD's 3,138 validation pictures, how many have so many conversations (tasks 1 to 3, all captions): 17,471 in all.
CONVERSATIONS: Mapping[int, int] = {
    1: 205,
    2: 468,
    3: 7,
    4: 66,
    5: 387,
    6: 869,
    7: 767,
    8: 221,
    9: 56,
    10: 27,
    11: 14,
    12: 10,
    13: 5,
    14: 5,
    15: 5,
    16: 4,
    17: 8,
    18: 3,
    19: 4,
    21: 3,
    22: 1,
    24: 1,
    27: 1,
    35: 1,
}
# Shapes of photos, brought to 500 pixels: of the 1,000 annotated images of VRD (Lu et al. 2016), which are of Flickr as
# Visual Genome's are, how many have an aspect ratio nearest to this one's.
SIZES: Mapping[tuple[int, int], int] = {
    (500, 375): 364,
    (500, 333): 355,
    (375, 500): 90,
    (333, 500): 90,
    (500, 281): 48,
    (500, 415): 28,
    (500, 500): 25,
}
SYSTEM_PROMPT = "vicuna"
TOKENS = 450  # of the vocabulary: with so many, question and answer have about 70 tokens, as in Vicuna's vocabulary


def sample_of(number: int, size: tuple[int, int]) -> Sample:
    """Make the sample of a drawn scene; its boxes are not needed, for none are drawn."""
    scene = compose(0, "train", number)
    short, long = captions(scene)
    triple = PicturedTriple(
        subject=scene.subject,
        object=scene.object,
        relation=scene.relation,
        subject_bbox=scene.subject_bbox,
        object_bbox=scene.object_bbox,
        image=f"{number}.jpg",
    )
    return Sample(id=str(number), size=size, triples=(triple,), captions_v1=tuple(short), captions_v2=tuple(long))


def draw(number: int, size: tuple[int, int], folder: Path) -> None:
    """Draw a scene and stretch it to ``size``: what it costs to look at a picture does not depend on what it shows."""
    picture = render(compose(0, "train", number), (640, 480)).resize(size, Image.Resampling.BICUBIC)
    picture.save(folder / f"{number}.jpg", "JPEG", quality=92, subsampling=0)


def conversations_about(number: int) -> Iterator[Conversation]:
    """Yield conversations about a picture without end: those of its scene, then what is said of other scenes."""
    for other in count(number, 10_007):
        for conversation in converse(sample_of(other, (0, 0)), task2_captions=0):
            yield conversation.model_copy(update={"image": f"{number}.jpg"})


def draw_packs(wanted: int, most_conversations: int, seed: int, folder: Path) -> list[Pack]:
    """Draw ``wanted`` packs out of those that all 3,138 pictures make, and write their pictures into ``folder``.

    All pictures are packed, because few would leave more room in their packs than the real ones do.
    """
    draws = random.Random(seed)
    counts = [k for k, pictures in CONVERSATIONS.items() for _ in range(pictures)]
    draws.shuffle(counts)
    places = [{"image": str(number)} for number, k in enumerate(counts) for _ in range(k)]
    packs = pack(places, most_conversations, seed)
    chosen = draws.sample(packs, wanted)
    sizes = draws.choices(list(SIZES), list(SIZES.values()), k=len(counts))
    for number in {int(picture.image) for one in chosen for picture in one}:
        draw(number, sizes[number], folder)
    return [[_told(picture) for picture in one] for one in chosen]


def _told(picture: Picture) -> Picture:
    said = islice(conversations_about(int(picture.image)), len(picture.conversations))
    return Picture(f"{picture.image}.jpg", [training_row(one, SYSTEM_PROMPT) for one in said])


def rows_of(packs: list[Pack]) -> list[Row]:
    """List the conversations of packs, in their order."""
    return [row for one in packs for picture in one for row in picture.conversations]


def repack(packs: list[Pack], most_conversations: int, seed: int) -> list[Pack]:
    """Put the pictures of ``packs`` into packs of another size; the same packs where their size is not another."""
    if all(sum(len(picture.conversations) for picture in one) <= most_conversations for one in packs):
        return packs
    return pack(rows_of(packs), most_conversations, seed)


def text_tokenizer() -> Any:
    """Make a tokenizer of the texts of 300 scenes."""
    said = [one for number in range(300) for one in converse(sample_of(number, (0, 0)), task2_captions=0)]
    return make_tokenizer([f"{one.question} {one.answer}" for one in said], TOKENS)


def pictures_in(packs: list[Pack]) -> int:
    """Count the different pictures of packs."""
    return len(by_picture(rows_of(packs)))
