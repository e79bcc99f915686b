"""Broken annotations stop with one message that names file, item and field; the real ones load whole."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vsd_utils import samples
from vsd_utils.annotations import load_items, load_pairs
from vsd_utils.errors import VsdError
from vsd_utils.images import index_photos
from vsd_utils.paths import annotation_file

TRIPLE = {"s": "cup", "o": "box", "p": "on", "s_bbox": [10, 30, 10, 40], "o_bbox": [30, 60, 0, 50]}
ITEM = {"img_id": "7", "triple_list": [TRIPLE], "captions": ["a cup on a box"]}


def triple(**changes: Any) -> dict[str, Any]:
    return ITEM | {"triple_list": [TRIPLE, TRIPLE | changes]}


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


BROKEN = [
    # the item; its field; what the message must say besides
    (without(ITEM, "img_id"), "img_id", "missing"),
    (without(ITEM, "triple_list"), "triple_list", "missing"),
    (without(ITEM, "captions"), "captions", "missing; an item has img_id, triple_list and captions"),
    (ITEM | {"triple_list": [TRIPLE, without(TRIPLE, "o_bbox")]}, "triple_list.1.o_bbox", "a triple has s, o, p"),
    (triple(p="beside"), "triple_list.1.p", "'beside'"),
    (triple(p="On"), "triple_list.1.p", "the nine are on, in, next to"),
    (triple(s=" "), "triple_list.1.s", "empty"),
    (triple(o=None), "triple_list.1.o", "None"),
    (triple(s_bbox=[30, 10, 10, 40]), "triple_list.1.s_bbox", "[ymin, ymax, xmin, xmax]"),
    (triple(o_bbox=[10, 30, 40, 40]), "triple_list.1.o_bbox", "[10, 30, 40, 40]"),
    (triple(o_bbox=[-1, 30, 10, 40]), "triple_list.1.o_bbox", "[-1, 30, 10, 40]"),
    (triple(o_bbox=[1, 30, 10]), "triple_list.1.o_bbox", "[ymin, ymax, xmin, xmax]"),
    (triple(o_bbox=[1, 30.5, 10, 40]), "triple_list.1.o_bbox.1", "30.5"),
    (triple(o_bbox="box"), "triple_list.1.o_bbox", "'box'"),
    (ITEM | {"triple_list": []}, "triple_list", "empty"),
    (ITEM | {"captions": []}, "captions", "empty"),
    (ITEM | {"captions": ["fine", "\n"]}, "captions.1", "empty"),
    (without(ITEM, "captions") | {"description": ""}, "description.0", "empty"),
    (ITEM | {"captions": ["\ud800"]}, "captions.0", "half of a UTF-16 pair"),
    ("cup", "the item", "'cup'"),
]


@pytest.mark.parametrize(("item", "field", "said"), BROKEN)
def test_a_broken_item_is_named_or_left_out_and_counted(tmp_path, item, field, said) -> None:
    path = write(tmp_path / "val.json", [ITEM, item, ITEM | {"img_id": "9"}])
    with pytest.raises(VsdError) as caught:
        load_items(path)
    message = str(caught.value)
    identity = " (img_id '7')" if isinstance(item, dict) and "img_id" in item else ""
    assert message.startswith(f"{path}, item 1{identity}: ")
    assert field in message
    assert said in message
    assert "more in this item" not in message  # one thing is wrong
    assert message.endswith("Mend it, or set convert.skip_invalid to leave such items out.")

    skipped: list[str] = []
    assert [kept.img_id for kept in load_items(path, skipped)] == ["7", "9"]
    assert skipped == [message]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"img_id": "7",', "not JSON, line 1 column 17.*cut short"),
        ("{}", "expected a JSON list of images, found {}"),
        ("[]", "expected a JSON list"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_none(tmp_path, content, said) -> None:
    path = tmp_path / "val.json"
    if content is not None:
        write(path, content)
    with pytest.raises(VsdError, match=rf"val.json: {said}"):
        load_items(path, [])  # leniency is for items; a broken file always stops


def test_a_file_that_is_no_text(tmp_path) -> None:
    path = tmp_path / "val.json"
    path.write_bytes(b"\x1f\x8b\x08\xff")
    with pytest.raises(VsdError, match=r"val.json: cannot be read as UTF-8"):
        load_items(path)


def test_a_duplicate_image(tmp_path) -> None:
    path = write(tmp_path / "val.json", [ITEM, ITEM | {"img_id": "8"}, ITEM | {"img_id": 7}])
    with pytest.raises(VsdError, match=r"val.json, item 2 \(img_id 7\): duplicate img_id, also item 0. Keep one"):
        load_items(path)
    skipped: list[str] = []
    assert len(load_items(path, skipped)) == 2
    assert len(skipped) == 1


@pytest.mark.parametrize("captions", [{"description": "one."}, {"description": ["one."]}, {"captions": ["one."]}])
def test_the_challenge_calls_captions_description(tmp_path, captions) -> None:
    path = write(tmp_path / "val.json", [without(ITEM, "captions") | captions])
    (item,) = load_items(path)
    assert item.captions == ("one.",)
    assert item.model_dump(mode="json") == ITEM | {"captions": ["one."]}


def test_two_versions_that_disagree(tmp_path) -> None:
    both = [ITEM | {"img_id": str(number)} for number in range(6)]
    first = write(tmp_path / "v1.json", [*both[:4], both[5] | {"captions": []}])
    other = ITEM | {"img_id": "3", "triple_list": [TRIPLE | {"o_bbox": [30, 60, 0, 51]}]}
    second = write(tmp_path / "v2.json", [both[0], both[2] | {"captions": []}, other, both[4], both[5]])
    skipped: list[str] = []
    assert [one.img_id for one, _ in load_pairs(first, second, skipped)] == ["0"]
    expected = [
        "v1.json, item 4 (img_id '5'): captions: is empty",
        "v2.json, item 1 (img_id '2'): captions: is empty",
        "v1.json: has no image '4', which",
        "v2.json: has no image '1', which",
        "v2.json, img_id '3': its triple ('cup', on, 'box', boxes [10, 30, 10, 40] [30, 60, 0, 51]) is not among",
    ]
    assert len(skipped) == len(expected)  # each image once, though 2 and 5 are missing beside the other file as well
    for message, said in zip(skipped, expected, strict=True):
        assert said in message
    with pytest.raises(VsdError, match=r"v1.json, item 4"):
        load_pairs(first, second)
    write(first, both[:4])
    write(second, [both[0], both[2], other, both[4]])
    with pytest.raises(VsdError, match=r"v1.json: has no image '4'.*split\? \(2 more disagreements\)"):
        load_pairs(first, second)


def test_photos_missing_broken_or_smaller_than_a_box(tmp_path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    sizes = {"7": (50, 60), "8": (49, 59), "9": (48, 60), "10": (50, 58)}
    for name, size in sizes.items():
        Image.new("RGB", size).save(photos / f"{name}.jpg")
    (photos / "11.jpg").write_bytes((photos / "7.jpg").read_bytes()[:200])
    (photos / "12.png").write_text("no image")
    path = write(tmp_path / "v1.json", [ITEM | {"img_id": str(number)} for number in range(7, 14)])
    pairs = load_pairs(path, path)
    settings = {"draw": True, "box_width": 0.02, "canvas_margin": 0.05, "target": tmp_path / "samples"}
    skipped: list[str] = []
    kept = list(samples.build(pairs, photos, index_photos(photos), **settings, skipped=skipped))
    assert [(row.id, row.size) for row in kept] == [("7", (50, 60)), ("8", (49, 59))]  # a pixel's tolerance
    expected = [
        (photos / "9.jpg", "'9': triple_list.0.o_bbox [30, 60, 0, 50] reaches outside the image of 48 x 60 pixels"),
        (photos / "10.jpg", "'10': triple_list.0.o_bbox [30, 60, 0, 50] reaches outside the image of 50 x 58 pixels"),
        (photos / "11.jpg", "cannot be read as an image"),
        (photos / "12.png", "cannot be read as an image"),
        (photos, "img_id '13': no photo"),
    ]
    assert len(skipped) == len(expected)
    for number, (message, (place, said)) in enumerate(zip(skipped, expected, strict=True), 2):
        assert str(place) in message
        assert said in message
        with pytest.raises(VsdError) as caught:
            list(samples.build(pairs[number : number + 1], photos, index_photos(photos), **settings))
        assert str(caught.value) == message


def test_the_real_files(real_vsd) -> None:
    """Counts measured on the files when the specification was written, not by this code."""
    paths = [annotation_file(version, "val", real_vsd) for version in (1, 2)]
    pairs = load_pairs(*paths)
    assert len(pairs) == len({one.img_id for one, _ in pairs}) == 2927
    assert [one.img_id for one, _ in pairs] == [other.img_id for _, other in pairs]
    assert sum(len(one.triple_list) for one, _ in pairs) == 3138
    assert sum(len(other.triple_list) for _, other in pairs) == 2931
    assert sum(len(one.triple_list) > 1 for one, _ in pairs) == 159
    assert sum(len(other.triple_list) < len(one.triple_list) for one, other in pairs) == 156
    assert [sum(len(pair[version].captions) for pair in pairs) for version in (0, 1)] == [16823, 3140]
    relations = Counter(triple.p for one, _ in pairs for triple in one.triple_list)
    assert relations == {
        "on": 533,
        "behind": 453,
        "in front of": 413,
        "in": 386,
        "under": 382,
        "next to": 358,
        "above": 354,
        "to the left of": 151,
        "to the right of": 108,
    }
    for path in paths:
        assert [item.model_dump(mode="json") for item in load_items(path)] == json.loads(path.read_text())
