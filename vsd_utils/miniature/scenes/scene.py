"""Drawn sample scenes with known relations, for runs without photos: layout, pictures, captions, data sets.

A subject and an object are drawn in a room such that one of the nine relations holds, and no other.
`vsd_utils.miniature.scenes.layout` says what each relation means.

Names are drawn independently of the relation and of all sizes and places, and the relations of a split are balanced,
so whoever does not see the picture is right in one of nine cases. What is not realistic: one pair a scene, relations
that are never vague, things of equal size whatever they are (a cat is as large as a mug), a viewer who never moves,
flat colours, few nouns, and captions from a handful of forms. What is: occlusion, perspective, other things around,
and relations that cannot be told from names.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.progress import track

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing, write_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.miniature.scenes.layout import lay_out
from vsd_utils.miniature.scenes.objects import OBJECTS
from vsd_utils.miniature.scenes.pen import PAINTS, Box, Colour, Pen
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

V1_FORMS: Final = ("{s} {p} {o}.", "there is {a_s} {p} the {o}.", "{a_s} is {p} {a_o}.", "the {s} is {p} the {o}.")
V2_FORMS: Final = {
    **dict.fromkeys(("on", "in", "above"), "In this room, the {s} is {p} the {o}."),
    **dict.fromkeys(("next to", "to the left of", "to the right of"), "On the floor, {a_s} is {p} the {o}."),
    "under": "The {o} is above the {s} in this room.",
    "behind": "The {o} is in front of the {s} in this room.",
    "in front of": "The {o} is behind the {s} in this room.",
}
_JPEG: Final[dict[str, Any]] = {"format": "JPEG", "quality": 90, "subsampling": 0}


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of one thing, and whether it faces left instead of right."""

    main: Colour
    accent: Colour
    mirrored: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that a picture and its captions are made of; boxes as in `vsd_utils.miniature.scenes.layout`."""

    subject: str
    object: str
    relation: str
    subject_bbox: Box
    object_bbox: Box
    subject_look: Look
    object_look: Look
    closed: bool  # the object has its lid on: always under a thing that is on it, never with a thing in it
    support: Support | None
    distractors: tuple[tuple[str, Box, Look], ...]
    room: Room
    wording: tuple[int, ...]  # which forms of V1_FORMS the short captions take

    @property
    def front(self) -> Literal["subject", "object"] | None:
        """Which of the two hides a part of the other."""
        if self.relation in ("on", "in front of"):
            return "subject"
        return "object" if self.relation in ("in", "behind") else None


def _generator(seed: int, split: str, *numbers: int) -> np.random.Generator:
    if seed < 0 or not split:
        raise VsdError(f"scenes need a seed of at least 0 and the name of a split; found seed {seed}, split {split!r}")
    name = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, name, *numbers])


def compose(seed: int, split: str, index: int) -> Scene:
    """Compose the scene number ``index`` (from 0) of a split, always the same; splits share no random numbers.

    Every nine scenes in a row, from a multiple of nine on, show the nine relations in a random order. Raises
    ``VsdError`` for a negative seed or index and an empty split name.
    """
    if index < 0:
        raise VsdError(f"scenes are numbered from 0; found {index}")
    block, place = divmod(index, len(RELATIONS))
    relation = RELATIONS[int(_generator(seed, split, 0, block).permutation(len(RELATIONS))[place])]
    rng = _generator(seed, split, 1, index)

    def look(main: tuple[Colour, ...]) -> Look:
        first, second = main[int(rng.integers(len(main)))], PAINTS[int(rng.integers(len(PAINTS)))]
        if second == first:
            second = PAINTS[(PAINTS.index(first) + 2) % len(PAINTS)]
        return Look(first, second, bool(rng.random() < 0.5))

    subject = tuple(SUBJECTS)[int(rng.integers(len(SUBJECTS)))]
    object = tuple(OBJECTS)[int(rng.integers(len(OBJECTS)))]
    subject_bbox, object_bbox, support, hull = lay_out(rng, relation)
    room = compose_room(rng, hull)
    distractors: list[tuple[str, Box, Look]] = []
    for _ in range(3 * int(rng.integers(3))):
        size, base, left = (int(rng.integers(*ends)) for ends in ((24, 31), (room.horizon + 14, 188), (6, 220)))
        box = (base - size, base, left, left + size)
        kind = tuple(SUBJECTS)[int(rng.integers(len(SUBJECTS)))]
        free = apart(box, hull, 10) and all(apart(box, other, 8) for _, other, _ in distractors)
        if free and kind != subject and len(distractors) < 2:
            distractors.append((kind, box, look(SUBJECTS[kind][1])))
    forms = len(V1_FORMS)
    more = [int(form) for form in rng.integers(forms, size=int(rng.integers(3, 5)))]
    return Scene(
        subject=subject,
        object=object,
        relation=relation,
        subject_bbox=subject_bbox,
        object_bbox=object_bbox,
        subject_look=look(SUBJECTS[subject][1]),
        object_look=look(OBJECTS[object][2]),
        closed=relation == "on" or (relation != "in" and bool(rng.random() < 0.5)),
        support=support,
        distractors=tuple(sorted(distractors, key=lambda thing: thing[1][1])),
        room=room,
        wording=tuple(int(form) for form in rng.permutation([0, 1, *more])),
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
    """Render a scene as an RGB picture of ``size`` (width, height) pixels, which must be 4:3; no boxes are drawn on it.

    Drawn at twice the size and reduced, so edges are smooth. Raises ``VsdError`` for other shapes.
    """
    width, height = size
    if width < 4 or width * HEIGHT != height * WIDTH:
        raise VsdError(f"scenes are rendered in the shape 4:3, such as 256 x 192; found {width} x {height}")
    scale = 2 * width / WIDTH
    image = Image.new("RGB", (2 * width, 2 * height))
    draw = ImageDraw.Draw(image, "RGBA")
    draw_room(draw, scene.room, scale)
    for kind, box, look in scene.distractors:
        draw_shadow(draw, box, scale)
        SUBJECTS[kind][0](Pen(draw, box, scale, look.mirrored), look.main, look.accent)
    if scene.support:
        draw_support(draw, scene.support, scale)
    draw_pair(draw, scene, scale)
    return image.reduce(2)


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def captions(scene: Scene) -> tuple[list[str], list[str]]:
    """Write the captions of a scene: five or six short ones with repeats (VSDv1), one longer one (VSDv2).

    The bare phrase ("ball on box.") and "there is a ball on the box." are always among the short ones. The form of the
    long one follows from the relation alone; for under, behind and in front of it starts from the object.
    """
    names = {
        "s": scene.subject,
        "o": scene.object,
        "p": scene.relation,
        "a_s": _with_article(scene.subject),
        "a_o": _with_article(scene.object),
    }
    return [V1_FORMS[form].format(**names) for form in scene.wording], [V2_FORMS[scene.relation].format(**names)]


def write_split(root: Path, images: Path, split: str, count: int, seed: int) -> None:
    """Write ``count`` scenes: pictures ``<images>/scene_<split>_<number>.jpg`` and the split's two annotation files.

    The files are named and laid out as the VSD authors' (``paths.annotation_file``; list of ``img_id``,
    ``triple_list`` with ``s``, ``o``, ``p``, ``s_bbox``, ``o_bbox``, and ``captions``), the same bytes at every call.
    Raises ``VsdError`` for a count below 1.
    """
    if count < 1:
        raise VsdError(f"a split needs at least 1 scene; found {count} for {split!r}")
    console = Console(stderr=True)
    items: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for index in track(range(count), f"Drawing {split}", console=console, disable=not console.is_terminal):
        scene, name = compose(seed, split, index), f"scene_{split}_{index:06d}"
        with replacing(images / f"{name}.jpg") as temporary:
            render(scene).save(temporary, **_JPEG)
        boxes = {"s_bbox": list(scene.subject_bbox), "o_bbox": list(scene.object_bbox)}
        triple = {"s": scene.subject, "o": scene.object, "p": scene.relation, **boxes}
        for version, sentences in zip((1, 2), captions(scene), strict=True):
            items[version].append({"img_id": name, "triple_list": [triple], "captions": sentences})
    for version, written in items.items():
        write_json(annotation_file(version, split, root), written)
