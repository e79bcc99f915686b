"""VRD's annotations are read as its release has them, and what is not used is counted."""

from collections import Counter
from pathlib import Path

import pytest

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, write_json
from vsd_utils.data import vrd

# Of the test half, counted by hand when the mapping was chosen: relations by VSD's name, and pairs.
COUNTS = {
    "on": 1504,
    "next to": 1177,
    "above": 673,
    "under": 643,
    "behind": 573,
    "in front of": 409,
    "in": 178,
    "to the left of": 103,
    "to the right of": 88,
}


def side(category: int, *box: int) -> dict:
    return {"category": category, "bbox": list(box)}


def release(folder: Path, relations: list[dict], **changes: object) -> Path:
    files = {
        "annotations_test": {"a.jpg": relations},
        "image_metadata_test": {"a.gif": {"width": 100, "height": 80}},
        "objects": ["cat", "dog"],
        "predicates": ["on", "wear", "below", "near"],
    }
    for name, content in (files | changes).items():
        write_json(folder / f"{name}.json", content)
    return folder


def test_pairs_and_all_that_is_right_of_them(tmp_path) -> None:
    cat, dog = side(0, 10, 60, 10, 60), side(1, 20, 90, 20, 70)
    relations = [
        {"predicate": 0, "subject": cat, "object": dog},
        {"predicate": 3, "subject": cat, "object": dog},
        {"predicate": 0, "subject": cat, "object": dog},  # said twice
        {"predicate": 2, "subject": dog, "object": cat},
        {"predicate": 1, "subject": cat, "object": dog},
        {"predicate": 0, "subject": side(0, 85, 90, 1, 9), "object": dog},  # below the photo's last line
    ]
    reading = vrd.load(release(tmp_path, relations))
    (image,) = reading.images
    assert image.labels == ({"on", "next to"}, {"under"})
    first, second = image.item.triple_list
    assert (first.s, first.p, first.o, first.o_bbox) == (
        "cat",
        "on",
        "dog",
        (20, 80, 20, 70),
    )  # cut at the photo's edge
    assert (second.s, second.o) == ("dog", "cat")
    assert (reading.other_predicates, reading.unusable_boxes, image.size) == (1, 1, (100, 80))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations_test": {"b.jpg": []}}, "image_metadata_test.json: has no 'b.jpg'"),
        ({"objects": ["cat"]}, "'a.jpg', relation 0: a category or a predicate has no name"),
        ({"annotations_test": {"a.jpg": [{"predicate": 0, "subject": side(0, 1, 2, 3)}]}}, "a.jpg.0.subject.bbox"),
        ({"predicates": {"on": 0}}, "predicates.json: : Input should be a valid list"),
    ],
)
def test_what_is_not_as_its_release_has_it(tmp_path, changes, said) -> None:
    one = {"predicate": 0, "subject": side(0, 0, 9, 0, 9), "object": side(1, 0, 9, 0, 9)}
    with pytest.raises(VsdError) as caught:
        vrd.load(release(tmp_path, [one], **changes))
    assert said in str(caught.value)
    with pytest.raises(VsdError, match="no such file"):
        vrd.load(tmp_path / "nowhere")


def test_the_real_file_has_what_was_counted(real_vrd: Path) -> None:
    reading = vrd.load(real_vrd)
    labels = [labels for image in reading.images for labels in image.labels]
    assert len(labels) == 4_884
    assert sum(len(known) > 1 for known in labels) == 164
    names = read_json(real_vrd / "predicates.json")
    raw = [names[one["predicate"]] for of in read_json(real_vrd / "annotations_test.json").values() for one in of]
    counted = Counter(vrd.RELATION_OF[name] for name in raw if name in vrd.RELATION_OF)
    assert counted == COUNTS
    assert reading.other_predicates + reading.unusable_boxes == len(raw) - counted.total()
    assert [image.item.img_id for image in vrd.drawn(reading.images, 5, 0)] == [
        image.item.img_id for image in vrd.drawn(reading.images, 5, 0)
    ]
    assert len(vrd.drawn(reading.images, 9_999, 0)) == len(reading.images)
