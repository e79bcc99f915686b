import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import INVERSE, RELATIONS
from vsd_utils.miniature.scenes.objects import OBJECTS
from vsd_utils.miniature.scenes.room import FLOORS, HEIGHT, WALLS, WIDTH
from vsd_utils.miniature.scenes.scene import compose
from vsd_utils.miniature.scenes.subjects import SUBJECTS
from vsd_utils.miniature.shortcuts import (
    AS_DRAWN,
    DARK_FLOORS,
    DARK_WALLS,
    OBJECT_NAMES,
    RELATIONS_OF,
    SUBJECT_NAMES,
    level,
    nearer_smaller,
    other_way_round,
    write_scenes,
)

scenes = st.builds(compose, st.integers(0, 2**32), st.just("shortcuts"), st.integers(0, 10**6))


def overlap(one, other):
    """Base pixels that two boxes share."""
    rows = min(one[1], other[1]) - max(one[0], other[0])
    columns = min(one[3], other[3]) - max(one[2], other[2])
    return max(0, rows) * max(0, columns)


@settings(max_examples=300, deadline=None)
@given(scenes)
def test_with_a_cue_changed_one_thing_still_hides_a_part_of_the_other(scene):
    assume(scene.relation in RELATIONS_OF["height"])
    flat, shrunk = level(scene), nearer_smaller(scene)
    assert flat.subject_bbox[1] == flat.object_bbox[1]
    assert flat.object_bbox == scene.object_bbox
    nearer = "subject_bbox" if scene.relation == "in front of" else "object_bbox"
    farther = "object_bbox" if nearer == "subject_bbox" else "subject_bbox"
    before, after = getattr(scene, nearer), getattr(shrunk, nearer)
    assert getattr(shrunk, farther) == getattr(scene, farther)
    assert after[1] == before[1]  # stands where it stood
    for low, high in ((0, 1), (2, 3)):
        assert (after[high] - after[low]) / (before[high] - before[low]) == pytest.approx(0.7, abs=0.02)
    for changed in (flat, shrunk):
        assert overlap(changed.subject_bbox, changed.object_bbox) > 60
        for top, base, left, right in (changed.subject_bbox, changed.object_bbox):
            assert 0 <= top < base <= HEIGHT
            assert 0 <= left < right <= WIDTH
        if scene.relation == "behind":  # and a part is not hidden
            (_, _, s_left, s_right), (_, _, o_left, o_right) = changed.subject_bbox, changed.object_bbox
            assert s_left < o_left or s_right > o_right


def test_the_same_scenes_are_drawn_and_with_each_cue_changed(tmp_path):
    sets, hidden = write_scenes(tmp_path, 18, seed=3)
    relations = {number: item.triple_list[0].p for number, item in sets[AS_DRAWN].items()}
    assert sorted(relations.values()) == sorted(2 * RELATIONS)
    for cue, concerned in RELATIONS_OF.items():
        assert list(sets[cue]) == [number for number, relation in relations.items() if relation in concerned]
    pictures = {
        item.img_id: Image.open(tmp_path / item.img_id).tobytes() for it in sets.values() for item in it.values()
    }
    assert len(pictures) == sum(map(len, sets.values()))
    for number, item in sets["order"].items():
        drawn, asked = sets[AS_DRAWN][number].triple_list[0], item.triple_list[0]
        assert pictures[item.img_id] == pictures[sets[AS_DRAWN][number].img_id]
        assert (asked.s, asked.o, asked.s_bbox, asked.o_bbox) == (drawn.o, drawn.s, drawn.o_bbox, drawn.s_bbox)
        assert (asked.p, INVERSE[asked.p]) == (INVERSE[drawn.p], drawn.p)
        assert other_way_round(item).triple_list == sets[AS_DRAWN][number].triple_list
    for cue, items in sets.items():
        assert hidden[cue].keys() == items.keys()
        for number, share in hidden[cue].items():
            assert (share > 0) == (relations[number] in ("on", "in", *RELATIONS_OF["height"]))
    for number, item in sets["names"].items():
        drawn, asked = sets[AS_DRAWN][number].triple_list[0], item.triple_list[0]
        assert pictures[item.img_id] == pictures[sets[AS_DRAWN][number].img_id]
        assert (asked.p, asked.s_bbox, asked.o_bbox) == (drawn.p, drawn.s_bbox, drawn.o_bbox)
        assert asked.s in SUBJECT_NAMES
        assert asked.o in OBJECT_NAMES
    for cue in ("height", "size", "room"):
        for number, item in sets[cue].items():
            assert item.triple_list[0].p == relations[number]
            assert pictures[item.img_id] != pictures[sets[AS_DRAWN][number].img_id]


def test_no_scene_has_what_is_new_to_a_model():
    assert {*SUBJECT_NAMES, *OBJECT_NAMES}.isdisjoint({*SUBJECTS, *OBJECTS})
    assert {*DARK_WALLS, *DARK_FLOORS}.isdisjoint({*WALLS, *FLOORS})


def test_a_cue_is_changed_in_no_scene_that_it_is_not_about():
    scene = next(scene for number in range(9) if (scene := compose(0, "shortcuts", number)).relation == "on")
    for change in (level, nearer_smaller):
        with pytest.raises(VsdError, match="no scene of 'on'"):
            change(scene)
