"""A split of sample scenes, written as a data set: pictures, and annotation files in the VSD authors' format."""

from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import track

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing, write_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.miniature.scenes.pen import SceneBox
from vsd_utils.miniature.scenes.room import HEIGHT, WIDTH
from vsd_utils.miniature.scenes.scene import V1_FORMS, Scene, compose, render

# The form of a long caption follows from the relation; names and articles as in ``V1_FORMS``.
V2_FORMS: Final = {
    **dict.fromkeys(("on", "in", "above"), "In this room, the {s} is {p} the {o}."),
    **dict.fromkeys(("next to", "to the left of", "to the right of"), "On the floor, {a_s} is {p} the {o}."),
    "under": "The {o} is above the {s} in this room.",
    "behind": "The {o} is in front of the {s} in this room.",
    "in front of": "The {o} is behind the {s} in this room.",
}
_JPEG: Final[dict[str, Any]] = {"format": "JPEG", "quality": 90, "subsampling": 0}


def write_split(root: Path, images: Path, split: str, count: int, seed: int, width: int = WIDTH) -> None:
    """Write ``count`` scenes: pictures ``<images>/scene_<split>_<number>.jpg`` and the split's two annotation files.

    The files are named and laid out as the VSD authors' (``paths.annotation_file``; list of ``img_id``,
    ``triple_list`` with ``s``, ``o``, ``p``, ``s_bbox``, ``o_bbox``, and ``captions``), the same bytes at every call.
    Pictures are ``width`` pixels wide, a multiple of 4, and three quarters as high. Raises ``VsdError`` for a count
    below 1.
    """
    if count < 1:
        raise VsdError(f"a split needs at least 1 scene; found {count} for {split!r}. Set fetch.scenes.{split}.")
    console = Console(stderr=True)
    items: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for index in track(range(count), f"Rendering {split}", console=console, disable=not console.is_terminal):
        scene, name = compose(seed, split, index), f"scene_{split}_{index:06d}"
        with replacing(images / f"{name}.jpg") as temporary:
            render(scene, (width, width * HEIGHT // WIDTH)).save(temporary, **_JPEG)
        boxes = {"s_bbox": _scaled(scene.subject_bbox, width), "o_bbox": _scaled(scene.object_bbox, width)}
        triple = {"s": scene.subject, "o": scene.object, "p": scene.relation, **boxes}
        for version, sentences in zip((1, 2), captions(scene), strict=True):
            items[version].append({"img_id": name, "triple_list": [triple], "captions": sentences})
    for version, version_items in items.items():
        write_json(annotation_file(version, split, root), version_items)


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


def _scaled(box: SceneBox, width: int) -> list[int]:
    """Bring a box from base pixels into those of a picture ``width`` pixels wide."""
    return [round(edge * width / WIDTH) for edge in box]


def _with_article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
