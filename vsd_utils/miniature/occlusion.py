"""How much of a drawn pair is hidden, measured on the drawing itself: what no annotation of photos tells."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from vsd_utils.metrics.measure import Array
from vsd_utils.miniature.scenes.room import HEIGHT, WIDTH
from vsd_utils.miniature.scenes.scene import Scene, compose, draw_object, draw_subject

SUBSETS: Final = {
    "less hidden": "drawn scenes of on, in, behind and in front of in which the nearer thing hides less of the other's "
    "pixels than in half of the scenes with the same relation",
    "more hidden": "the other half of them",
}


def hidden_share(scene: Scene) -> float:
    """Give the share of the farther thing's drawn pixels that the nearer one covers: 0..1, 0 where none does.

    Of a container that holds the subject, the front is what hides it.
    """
    subject = _covered(lambda draw: draw_subject(draw, scene, 1))
    object_ = _covered(lambda draw: draw_object(draw, scene, 1, part="front" if scene.relation == "in" else "all"))
    if scene.front is None:
        return 0.0
    farther = object_ if scene.front == "subject" else subject
    return float((subject & object_).sum() / farther.sum())


def by_occlusion(seed: int, split: str, numbers: Iterable[int]) -> dict[str, set[int]]:
    """Sort a split's scenes, by their numbers, into ``SUBSETS``; where nothing is hidden a scene is in neither.

    Halved relation by relation: how much is hidden differs between them, and so does how hard they are.
    """
    shares: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for number in numbers:
        scene = compose(seed, split, number)
        if scene.front:
            shares[scene.relation][number] = hidden_share(scene)
    found: dict[str, set[int]] = {name: set() for name in SUBSETS}
    for of_relation in shares.values():
        middle = np.median(list(of_relation.values()))
        for number, share in of_relation.items():
            found["less hidden" if share < middle else "more hidden"].add(number)
    return found


def _covered(paint: Callable[[ImageDraw.ImageDraw], None]) -> Array:
    """Tell where something is drawn: (height, width) of bool, in base pixels."""
    image = Image.new("RGBA", (WIDTH, HEIGHT))
    paint(ImageDraw.Draw(image))
    return np.asarray(image)[..., 3] > 0
