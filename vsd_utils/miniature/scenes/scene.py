"""One sample scene with a known relation, for runs without photos: composed at random, then rendered.

A subject and an object stand in a room such that one of the nine relations holds, and no other.
``vsd_utils/miniature/scenes/layout.py`` says what each relation means.

Names are chosen independently of the relation and of all sizes and places, and the relations of a split are balanced,
so whoever does not see the picture is right in one of nine cases. What is not realistic: one pair a scene, relations
that are never vague, things of equal size whatever they are (a cat is as large as a mug), a viewer who never moves,
flat colours, few nouns, and captions from a handful of forms. What is: occlusion, perspective, other things around,
and relations that cannot be told from names.
"""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import Image, ImageDraw

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.miniature.scenes.layout import lay_out
from vsd_utils.miniature.scenes.objects import OBJECTS
from vsd_utils.miniature.scenes.pen import PAINTS, Colour, Pen, SceneBox
from vsd_utils.miniature.scenes.room import (
    HEIGHT,
    WIDTH,
    Room,
    Support,
    apart,
    compose_room,
    draw_room,
    draw_shadow,
    draw_support,
)
from vsd_utils.miniature.scenes.subjects import SUBJECTS

# The forms of short captions: s and o are the names, p the relation, a_s and a_o the names with their articles.
V1_FORMS: Final = ("{s} {p} {o}.", "there is {a_s} {p} the {o}.", "{a_s} is {p} {a_o}.", "the {s} is {p} the {o}.")


@dataclass(frozen=True, slots=True)
class Look:
    """Hold the colours of one thing, and whether it faces left instead of right."""

    main: Colour
    accent: Colour
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Hold everything that a picture and its captions are made of; boxes as in ``layout.py``."""

    subject: str
    object: str
    relation: str
    subject_bbox: SceneBox
    object_bbox: SceneBox
    subject_look: Look
    object_look: Look
    closed: bool  # the object has its lid on: always under a thing that is on it, never with a thing in it
    support: Support | None
    distractors: tuple[tuple[str, SceneBox, Look], ...]
    room: Room
    wording: tuple[int, ...]  # which forms of V1_FORMS the short captions take

    @property
    def front(self) -> Literal["subject", "object"] | None:
        """Tell which of the two hides a part of the other."""
        if self.relation in ("on", "in front of"):
            return "subject"
        return "object" if self.relation in ("in", "behind") else None


def _generator(seed: int, split: str, *numbers: int) -> np.random.Generator:
    if seed < 0 or not split:
        raise VsdError(
            f"scenes need a seed of at least 0 and the name of a split; found seed {seed}, split {split!r}. Set both."
        )
    name = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name, *numbers])


def compose(seed: int, split: str, index: int) -> Scene:
    """Compose the scene number ``index`` (from 0) of a split, always the same; splits share no random numbers.

    Every nine scenes in a row, from a multiple of nine on, show the nine relations in a random order. Raises
    ``VsdError`` for a negative seed or index and an empty split name.
    """
    if index < 0:
        raise VsdError(f"scenes are numbered from 0; found {index}. Ask for a number of at least 0.")
    # 1. The relation, from the order of its block of nine.
    block, place = divmod(index, len(RELATIONS))
    relation = RELATIONS[int(_generator(seed, split, 0, block).permutation(len(RELATIONS))[place])]
    rng = _generator(seed, split, 1, index)

    def look(palette: tuple[Colour, ...]) -> Look:
        main, accent = palette[int(rng.integers(len(palette)))], PAINTS[int(rng.integers(len(PAINTS)))]
        if accent == main:
            accent = PAINTS[(PAINTS.index(main) + 2) % len(PAINTS)]
        return Look(main, accent, bool(rng.random() < 0.5))

    # 2. What is seen, independent of the relation, and where it stands, independent of the names.
    subject_name = tuple(SUBJECTS)[int(rng.integers(len(SUBJECTS)))]
    object_name = tuple(OBJECTS)[int(rng.integers(len(OBJECTS)))]
    subject_bbox, object_bbox, support, hull = lay_out(rng, relation)
    # 3. The room, and up to two other things on its floor that keep clear of the pair and of each other.
    room = compose_room(rng, hull)
    distractors: list[tuple[str, SceneBox, Look]] = []
    for _ in range(3 * int(rng.integers(3))):
        size, base, left = (int(rng.integers(*ends)) for ends in ((24, 31), (room.horizon + 14, 188), (6, 220)))
        box = (base - size, base, left, left + size)
        name = tuple(SUBJECTS)[int(rng.integers(len(SUBJECTS)))]
        free = apart(box, hull, 10) and all(apart(box, other, 8) for _, other, _ in distractors)
        if free and name != subject_name and len(distractors) < 2:
            distractors.append((name, box, look(SUBJECTS[name][1])))
    # 4. How the short captions are worded: the first two forms always, and three or four more.
    further_forms = [int(form) for form in rng.integers(len(V1_FORMS), size=int(rng.integers(3, 5)))]
    # The order of what follows is that in which random numbers are taken.
    return Scene(
        subject=subject_name,
        object=object_name,
        relation=relation,
        subject_bbox=subject_bbox,
        object_bbox=object_bbox,
        subject_look=look(SUBJECTS[subject_name][1]),
        object_look=look(OBJECTS[object_name][2]),
        closed=relation == "on" or (relation != "in" and bool(rng.random() < 0.5)),
        support=support,
        distractors=tuple(sorted(distractors, key=lambda thing: thing[1][1])),  # the farthest first
        room=room,
        wording=tuple(int(form) for form in rng.permutation([0, 1, *further_forms])),
    )


def draw_subject(draw: ImageDraw.ImageDraw, scene: Scene, scale: float) -> None:
    """Draw the subject alone, ``scale`` drawn pixels a base pixel."""
    look = scene.subject_look
    SUBJECTS[scene.subject][0](Pen(draw, scene.subject_bbox, scale, look.mirrored), look.main, look.accent)


def draw_object(
    draw: ImageDraw.ImageDraw, scene: Scene, scale: float, *, part: Literal["all", "back", "front"]
) -> None:
    """Draw the object alone: its opening ("back"), its front, or both."""
    opening, front, _ = OBJECTS[scene.object]
    look = scene.object_look
    pen = Pen(draw, scene.object_bbox, scale, look.mirrored)
    if part != "front":
        opening(pen, look.main, scene.closed)
    if part != "back":
        front(pen, look.main, look.accent)


def draw_pair(draw: ImageDraw.ImageDraw, scene: Scene, scale: float) -> None:
    """Draw subject and object with their shadows, the hidden one first."""
    if scene.relation == "in":
        draw_shadow(draw, scene.object_bbox, scale)
        draw_object(draw, scene, scale, part="back")
        draw_subject(draw, scene, scale)
        draw_object(draw, scene, scale, part="front")
    elif scene.relation == "behind":
        draw_shadow(draw, scene.subject_bbox, scale)
        draw_subject(draw, scene, scale)
        draw_shadow(draw, scene.object_bbox, scale)
        draw_object(draw, scene, scale, part="all")
    else:
        draw_shadow(draw, scene.object_bbox, scale)
        draw_object(draw, scene, scale, part="all")
        draw_shadow(draw, scene.subject_bbox, scale)
        draw_subject(draw, scene, scale)


def render(scene: Scene, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Render a scene as an RGB picture of ``size`` (width, height) pixels, which must be 4:3, without boxes on it.

    It is painted at twice the size and reduced, so that edges are smooth. Raises ``VsdError`` for other shapes.
    """
    width, height = size
    if width < 4 or width * HEIGHT != height * WIDTH:
        raise VsdError(
            f"scenes are rendered in the shape 4:3, such as 256 x 192; found {width} x {height}. Ask for such a size."
        )
    scale = 2 * width / WIDTH
    image = Image.new("RGB", (2 * width, 2 * height))
    # From the back to the front: room, other things, what carries the raised thing, the pair.
    draw = ImageDraw.Draw(image, "RGBA")
    draw_room(draw, scene.room, scale)
    for name, box, look in scene.distractors:
        draw_shadow(draw, box, scale)
        SUBJECTS[name][0](Pen(draw, box, scale, look.mirrored), look.main, look.accent)
    if scene.support:
        draw_support(draw, scene.support, scale)
    draw_pair(draw, scene, scale)
    return image.reduce(2)
