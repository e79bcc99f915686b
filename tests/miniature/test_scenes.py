import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from scipy.stats import chi2_contingency, chisquare, f_oneway

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import RELATIONS, load_versions
from vsd_utils.metrics.relation_checker import states_relation
from vsd_utils.miniature.scenes.dataset import captions, write_split
from vsd_utils.miniature.scenes.layout import relations_shown
from vsd_utils.miniature.scenes.objects import OBJECTS
from vsd_utils.miniature.scenes.pen import Pen, SceneBox
from vsd_utils.miniature.scenes.room import HEIGHT, WIDTH
from vsd_utils.miniature.scenes.scene import Scene, compose, draw_object, draw_pair, draw_subject, render
from vsd_utils.miniature.scenes.subjects import SUBJECTS

KEY = (255, 0, 255)  # no drawing has this colour
scenes = st.builds(compose, st.integers(0, 2**32), st.sampled_from(["train", "val", "test"]), st.integers(0, 10**6))


def boxes(top: int, left: int) -> st.SearchStrategy[SceneBox]:
    corner, size = st.tuples(st.integers(0, top), st.integers(0, left)), st.tuples(*[st.integers(1, 120)] * 2)
    return st.builds(lambda at, by: (at[0], at[0] + by[0], at[1], at[1] + by[1]), corner, size)


def drawn(paint, scale: float = 2) -> np.ndarray:
    """What ``paint(draw, scale)`` draws on an empty picture, shape (height, width, 3)."""
    image = Image.new("RGB", (int(WIDTH * scale), int(HEIGHT * scale)), KEY)
    paint(ImageDraw.Draw(image, "RGBA"), scale)
    return np.asarray(image)


def covered(pixels: np.ndarray) -> np.ndarray:
    return (pixels != KEY).any(axis=2)


def extent(pixels: np.ndarray, scale: float) -> np.ndarray:
    rows, columns = np.nonzero(covered(pixels))
    return np.array([rows.min(), rows.max() + 1, columns.min(), columns.max() + 1]) / scale


def visible_share(scene: Scene) -> tuple[float, float]:
    """Where both are drawn: the share of pixels that look as the subject alone, and as the object alone.

    Of a container that holds the subject only the front is meant; its opening is behind what is in it.
    """
    part = "front" if scene.relation == "in" else "all"
    subject_alone = drawn(lambda draw, scale: draw_subject(draw, scene, scale))
    object_alone = drawn(lambda draw, scale: draw_object(draw, scene, scale, part=part))
    pair = drawn(lambda draw, scale: draw_pair(draw, scene, scale))
    both = covered(subject_alone) & covered(object_alone)
    if not both.any():
        return 0, 0
    same_subject, same_object = ((pair == alone).all(axis=2)[both].mean() for alone in (subject_alone, object_alone))
    return same_subject, same_object


@settings(max_examples=400, deadline=None)
@given(scenes)
def test_the_boxes_of_a_scene_show_its_relation_and_no_other(scene):
    assert relations_shown(scene.subject_bbox, scene.object_bbox) == (scene.relation,)
    for ymin, ymax, xmin, xmax in (scene.subject_bbox, scene.object_bbox):
        assert 0 <= ymin < ymax <= HEIGHT
        assert 0 <= xmin < xmax <= WIDTH


@settings(max_examples=2000, deadline=None)
@given(boxes(130, 200), boxes(130, 200))
def test_no_two_relations_hold_of_any_two_boxes(subject_bbox, object_bbox):
    assert len(relations_shown(subject_bbox, object_bbox)) <= 1


@settings(max_examples=60, deadline=None)
@given(scenes)
def test_the_right_one_of_the_two_hides_the_other(scene):
    seen_subject, seen_object = visible_share(scene)
    if scene.front == "subject":
        assert seen_subject > 0.99
        assert seen_object < 0.9
    elif scene.front == "object":
        assert seen_object > 0.99
        assert seen_subject < 0.9
    else:
        assert (seen_subject, seen_object) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(scenes)
def test_what_is_in_a_container_is_seen_in_its_opening(scene):
    if scene.relation == "in":
        opening = drawn(lambda draw, scale: draw_object(draw, scene, scale, part="back"))
        subject = drawn(lambda draw, scale: draw_subject(draw, scene, scale))
        front = drawn(lambda draw, scale: draw_object(draw, scene, scale, part="front"))
        pair = drawn(lambda draw, scale: draw_pair(draw, scene, scale))
        seen = covered(opening) & covered(subject) & ~covered(front)
        assert seen.any()
        # Nearly all: where the rim's soft edge lies over the subject, a pixel is a mixture of both.
        assert (pair[seen] == subject[seen]).all(axis=-1).mean() > 0.8
        assert covered(subject)[: 2 * scene.object_bbox[0]].any()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", [*SUBJECTS, *OBJECTS])
def test_a_drawing_fills_its_box(kind, mirrored):
    box = (40, 100, 60, 140) if kind in OBJECTS else (40, 82, 60, 100)

    def paint(draw, scale):
        pen = Pen(draw, box, scale, mirrored)
        if kind in OBJECTS:
            opening, front, palette = OBJECTS[kind]
            opening(pen, palette[0], False)
            front(pen, palette[0], (90, 90, 160))
        else:
            drawing, palette = SUBJECTS[kind]
            drawing(pen, palette[0], (90, 90, 160))

    assert np.abs(extent(drawn(paint, 4), 4) - box).max() <= 1


def test_relations_are_balanced_and_names_independent_of_them():
    found = [compose(7, "train", index) for index in range(9 * 400)]
    assert set(Counter(scene.relation for scene in found).values()) == {400}
    for names, field in ((SUBJECTS, "subject"), (OBJECTS, "object")):
        table = np.array(
            [[sum(getattr(s, field) == name and s.relation == p for s in found) for p in RELATIONS] for name in names]
        )
        assert chi2_contingency(table).pvalue > 0.001
        assert chisquare(table.sum(axis=1)).pvalue > 0.001
        for edge in range(4):
            by_name = [[getattr(s, f"{field}_bbox")[edge] for s in found if getattr(s, field) == n] for n in names]
            assert f_oneway(*by_name).pvalue > 0.001
            sizes = [[s.subject_bbox[1] - s.subject_bbox[0] for s in found if getattr(s, field) == n] for n in names]
        assert f_oneway(*sizes).pvalue > 0.001


def test_the_order_of_relations_differs_between_blocks_and_splits():
    order = [[compose(7, split, index).relation for index in range(18)] for split in ("train", "val")]
    assert order[0] != order[1]
    assert order[0][:9] != order[0][9:]
    assert sorted(order[0][:9]) == sorted(RELATIONS)


@settings(max_examples=200, deadline=None)
@given(scenes)
def test_distractors_keep_clear_of_the_pair_and_have_other_names(scene):
    assert len(scene.distractors) <= 2
    for kind, (ymin, ymax, xmin, xmax), _ in scene.distractors:
        assert kind != scene.subject
        for top, base, left, right in (scene.subject_bbox, scene.object_bbox):
            assert xmin >= right + 8 or xmax <= left - 8 or ymin >= base + 8 or ymax <= top - 8


@settings(max_examples=300, deadline=None)
@given(scenes)
def test_every_caption_states_the_relation(scene):
    short, long = captions(scene)
    assert len(short) in (5, 6)
    assert len(long) == 1
    assert f"{scene.subject} {scene.relation} {scene.object}." in short
    assert any(sentence.startswith("there is a") for sentence in short)
    for sentence in short + long:
        assert states_relation(sentence, scene.subject, scene.object, scene.relation), sentence
    assert len(long[0]) > len(short[0])


def test_a_name_that_begins_with_a_vowel_takes_an():
    apple = next(scene for index in range(300) if (scene := compose(0, "val", index)).subject == "apple")
    assert f"there is an apple {apple.relation} the {apple.object}." in captions(apple)[0]


def test_the_long_caption_has_one_form_for_each_relation():
    forms: dict[str, set[str]] = {}
    for index in range(180):
        scene = compose(3, "test", index)
        text = captions(scene)[1][0].replace(f"an {scene.subject}", "a {s}").replace(scene.subject, "{s}")
        forms.setdefault(scene.relation, set()).add(text.replace(scene.object, "{o}"))
    assert {relation: len(found) for relation, found in forms.items()} == dict.fromkeys(RELATIONS, 1)


def test_a_small_picture_shows_the_same_as_a_large_one():
    for index in range(9):
        scene = compose(1, "val", index)
        large, small = render(scene), render(scene, (96, 72))
        assert (large.size, small.size, large.mode) == ((256, 192), (96, 72), "RGB")
        shrunk = np.asarray(large.resize((96, 72), Image.Resampling.BOX), float)
        assert np.abs(shrunk - np.asarray(small, float)).mean() < 6


def test_a_picture_changes_with_its_index_split_and_seed():
    keys = ((0, "a", 0), (0, "a", 1), (0, "b", 0), (1, "a", 0))
    pictures = [render(compose(*key), (96, 72)).tobytes() for key in keys]
    assert len(set(pictures)) == 4
    assert pictures[0] == render(compose(0, "a", 0), (96, 72)).tobytes()


def test_a_written_data_set_is_in_the_authors_format_and_the_same_every_time(tmp_path, capsys):
    digests = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        for split in ("train", "val", "test"):
            write_split(folder / "annotations", folder / "images", split, 20, seed=5)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        digests.append({str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).digest() for path in files})
    assert capsys.readouterr().err == ""
    assert digests[0] == digests[1]
    pictures = [digest for name, digest in digests[0].items() if name.endswith(".jpg")]
    assert len(pictures) == len(set(pictures)) == 60
    root, images = tmp_path / "one" / "annotations", tmp_path / "one" / "images"
    v1, v2 = (annotation_file(version, "val", root) for version in (1, 2))
    pairs = load_versions(v1, v2)
    assert len(pairs) == 20
    first = read_json(v1)[0]
    scene = compose(5, "val", 0)
    assert first["img_id"] == "scene_val_000000"
    assert first["triple_list"] == [
        {
            "s": scene.subject,
            "o": scene.object,
            "p": scene.relation,
            "s_bbox": list(scene.subject_bbox),
            "o_bbox": list(scene.object_bbox),
        }
    ]
    for earlier, later in pairwise(read_json(v2)):
        assert earlier["img_id"] < later["img_id"]
        with Image.open(images / f"{later['img_id']}.jpg") as picture:
            assert picture.size == (256, 192)


@pytest.mark.parametrize(
    "call",
    [
        lambda path: compose(-1, "train", 0),
        lambda path: compose(0, "", 0),
        lambda path: compose(0, "train", -1),
        lambda path: render(compose(0, "train", 0), (48, 48)),
        lambda path: write_split(path, path, "train", 0, 0),
    ],
)
def test_bad_values_are_refused(call, tmp_path):
    with pytest.raises(VsdError, match="found"):
        call(tmp_path)
