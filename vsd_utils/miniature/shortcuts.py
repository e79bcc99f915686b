"""Drawn scenes with one cue changed, beside the same scene as it is drawn otherwise.

A model may name the right relation for the wrong reason: what stands lower in a picture is mostly nearer, what is
smaller is mostly farther, and what is mentioned first is mostly the small movable thing. Pairs of pictures that differ
in one cue show what it leans on ("Why Far Looks Up", arXiv 2605.30161). One thing goes on hiding a part of the
other, which tells depth by itself; how large a part, changes a little, so it is measured (``Scenes.hidden``).

==========  =============================  ============================================================================
cue         relations                      what is changed
==========  =============================  ============================================================================
height      in front of, behind            both stand equally high in the picture; in training the nearer one is lower
size        in front of, behind            the nearer of the two is drawn at 0.7 of its width and height; in training
                                           the subject is the smaller one, as much so in either relation
order       all but on and in              the same scene asked the other way round, with the inverse relation: the
                                           object's name and its box come first, which they never do in training
names       all                            both things are called what no training scene has: only the boxes tell
                                           which things are meant
room        all                            a dark wall and a dark floor, as no training scene has
==========  =============================  ============================================================================

On and in have no inverse among the nine. Names and room are no shortcuts, for they tell nothing, in training either:
a model that is worse with new ones has learned something about those that it saw.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing
from vsd_utils.data.annotations import INVERSE, RELATIONS, Item, Triple
from vsd_utils.miniature.occlusion import hidden_share
from vsd_utils.miniature.scenes.pen import Colour, SceneBox
from vsd_utils.miniature.scenes.scene import Scene, compose, render

AS_DRAWN: Final = "as drawn"
_DEPTH: Final = ("behind", "in front of")
RELATIONS_OF: Final = {  # by cue
    "height": _DEPTH,
    "size": _DEPTH,
    "order": tuple(INVERSE),
    "names": RELATIONS,
    "room": RELATIONS,
}
_SMALLER: Final = 0.7
SUBJECT_NAMES: Final = ("rocket", "penguin", "kettle", "trumpet", "turnip", "paint brush", "wine glass")
OBJECT_NAMES: Final = ("barrel", "aquarium", "wardrobe", "sink", "fireplace", "piano stool")
DARK_WALLS: Final[tuple[Colour, ...]] = ((58, 64, 84), (72, 54, 60), (50, 70, 62))
DARK_FLOORS: Final[tuple[Colour, ...]] = ((46, 40, 38), (62, 58, 70))
_SPLIT: Final = "shortcuts"  # draws other random numbers than the splits


class Scenes(NamedTuple):
    """Hold by "as drawn" or cue, and by the scene's number, its annotation and the share that is hidden, 0..1.

    An annotation's image id is the name of its picture. ``hidden`` is ``occlusion.hidden_share``.
    """

    items: dict[str, dict[int, Item]]
    hidden: dict[str, dict[int, float]]


def level(scene: Scene) -> Scene:
    """Move the subject up or down until both things stand equally high; raises ``VsdError`` for other relations."""
    _check("height", scene)
    top, base, left, right = scene.subject_bbox
    rise = base - scene.object_bbox[1]
    return replace(scene, subject_bbox=(top - rise, base - rise, left, right))


def nearer_smaller(scene: Scene) -> Scene:
    """Draw the nearer thing smaller, standing where it stood; raises ``VsdError`` for other relations.

    A smaller object keeps its edge on the side where the subject juts out, so that it goes on hiding a part of it.
    """
    _check("size", scene)
    if scene.relation == "in front of":
        return replace(scene, subject_bbox=_shrunk(scene.subject_bbox, 0.5))
    juts_out_left = scene.subject_bbox[2] < scene.object_bbox[2]
    return replace(scene, object_bbox=_shrunk(scene.object_bbox, 0.0 if juts_out_left else 1.0))


def other_way_round(item: Item) -> Item:
    """Ask about the object first: names and boxes exchanged, the relation inverted.

    Raises ``VsdError`` where a relation has no inverse.
    """
    triples = []
    for triple in item.triple_list:
        if triple.p not in INVERSE:
            raise VsdError(f"{item.img_id}: {triple.p!r} has no inverse; take one of {', '.join(INVERSE)}")
        triples.append(Triple(s=triple.o, o=triple.s, p=INVERSE[triple.p], s_bbox=triple.o_bbox, o_bbox=triple.s_bbox))
    return item.model_copy(update={"triple_list": tuple(triples)})


def renamed(item: Item, number: int) -> Item:
    """Call both things by names that no scene has, each scene ``number`` by others of them."""
    s, o = SUBJECT_NAMES[number % len(SUBJECT_NAMES)], OBJECT_NAMES[number % len(OBJECT_NAMES)]
    triples = tuple(triple.model_copy(update={"s": s, "o": o}) for triple in item.triple_list)
    return item.model_copy(update={"triple_list": triples})


def darkened(scene: Scene, number: int) -> Scene:
    """Paint wall and floor in colours that no scene has, each scene ``number`` in others of them."""
    wall, floor = DARK_WALLS[number % len(DARK_WALLS)], DARK_FLOORS[number % len(DARK_FLOORS)]
    return replace(scene, room=replace(scene.room, wall=wall, floor=floor))


def write_scenes(folder: Path, count: int, seed: int) -> Scenes:
    """Draw the first ``count`` scenes of a seed below ``folder``, as drawn; again with each of their cues changed."""
    cues = (AS_DRAWN, *RELATIONS_OF)
    found = Scenes({cue: {} for cue in cues}, {cue: {} for cue in cues})

    def write(cue: str, number: int, scene: Scene) -> None:
        found.items[cue][number] = _written(folder, number, cue, scene)
        found.hidden[cue][number] = hidden_share(scene)

    for number in range(count):
        scene = compose(seed, _SPLIT, number)
        write(AS_DRAWN, number, scene)
        write("names", number, scene)
        found.items["names"][number] = renamed(found.items["names"][number], number)
        write("room", number, darkened(scene, number))
        if scene.relation in INVERSE:
            write("order", number, scene)
            found.items["order"][number] = other_way_round(found.items["order"][number])
        if scene.relation in _DEPTH:
            write("height", number, level(scene))
            write("size", number, nearer_smaller(scene))
    return found


def _written(folder: Path, number: int, cue: str, scene: Scene) -> Item:
    """Render a scene and give its annotation, which has no caption: task 1 alone is asked."""
    img_id = f"scene_{number:06d}_{cue.replace(' ', '_')}.png"
    with replacing(folder / img_id) as temporary:
        render(scene).save(temporary, "PNG")
    triple = Triple(
        s=scene.subject, o=scene.object, p=scene.relation, s_bbox=scene.subject_bbox, o_bbox=scene.object_bbox
    )
    return Item.model_construct(img_id=img_id, triple_list=(triple,), captions=())


def _check(cue: str, scene: Scene) -> None:
    if scene.relation not in RELATIONS_OF[cue]:
        raise VsdError(
            f"{cue} is changed in no scene of {scene.relation!r}; take a scene of {' or '.join(RELATIONS_OF[cue])}"
        )


def _shrunk(box: SceneBox, anchor: float) -> SceneBox:
    """Make a box smaller about a point of its base: ``anchor`` 0 is its left end, 1 its right."""
    top, base, left, right = box
    width, height = round((right - left) * _SMALLER), round((base - top) * _SMALLER)
    start = left + round(anchor * (right - left - width))
    return base - height, base, start, start + width
