"""Broken annotations stop with one message that names file, item and field; the real ones load whole."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import load_items, load_versions, read_items, read_versions

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
    (triple(p="On"), "triple_list.1.p", "is not one of the nine relations: on, in, next to"),
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
    (ITEM | {"captions": ["\ud800"]}, "captions.0", "half of a UTF-16 surrogate pair"),
    ("cup", "the item", "'cup'"),
]


@pytest.mark.parametrize(("item", "field", "said"), BROKEN)
def test_a_broken_item_is_named_or_left_out_and_counted(tmp_path, item, field, said) -> None:
    path = write(tmp_path / "val.json", [ITEM, item, ITEM | {"img_id": "9"}])
    with pytest.raises(VsdError) as caught:
        load_items(path)
    (message,) = str(caught.value).splitlines()
    identity = " (img_id '7')" if isinstance(item, dict) and "img_id" in item else ""
    assert message.startswith(f"{path}, item 1{identity}: ")
    assert field in message
    assert said in message
    items, (unusable,) = read_items(path)
    assert [kept.img_id for kept in items] == ["7", "9"]
    assert unusable.problems == (message,)
    assert unusable.img_id == (item["img_id"] if isinstance(item, dict) and "img_id" in item else None)


def test_every_problem_of_a_file_is_said_at_once_up_to_a_sensible_number(tmp_path) -> None:
    twice = triple(p="beside", s_bbox=[3, 1, 0, 5])
    path = write(tmp_path / "val.json", [ITEM, twice | {"img_id": "8"}, ITEM | {"img_id": "9", "captions": []}])
    with pytest.raises(VsdError) as caught:
        load_items(path)
    places = [line.split(": ")[:2] for line in str(caught.value).splitlines()]
    fields = ["triple_list.1.p", "triple_list.1.s_bbox", "captions"]
    assert [field for _, field in places] == fields
    write(path, [ITEM | {"img_id": str(number), "captions": []} for number in range(1020)])
    with pytest.raises(VsdError) as caught:
        load_items(path)
    *shown, more = str(caught.value).splitlines()
    assert (len(shown), more) == (20, "... and 1,000 more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('[{"img_id": "7",', "not JSON, line 1 column 17.*cut short"),
        ("{}", "expected a JSON list of images, found {}"),
        ("[]", "expected a JSON list"),
        (None, "no such file"),
    ],
)
def test_a_file_that_is_not_a_list_of_images_is_refused(tmp_path, content, said) -> None:
    path = tmp_path / "val.json"
    if content is not None:
        write(path, content)
    with pytest.raises(VsdError, match=rf"val.json: {said}"):
        read_items(path)  # leniency is for items; a broken file always stops


def test_a_file_that_is_not_text_is_refused(tmp_path) -> None:
    path = tmp_path / "val.json"
    path.write_bytes(b"\x1f\x8b\x08\xff")
    with pytest.raises(VsdError, match=r"val.json: cannot be read as UTF-8"):
        load_items(path)


def test_a_duplicate_image(tmp_path) -> None:
    path = write(tmp_path / "val.json", [ITEM, ITEM | {"img_id": "8"}, ITEM | {"img_id": 7}])
    with pytest.raises(VsdError, match=r"val.json, item 2 \(img_id '7'\): duplicate img_id, also item 0. Keep one"):
        load_items(path)
    items, unusable = read_items(path)
    assert ([item.img_id for item in items], [one.img_id for one in unusable]) == (["7", "8"], ["7"])


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
    joined, unusable = read_versions(first, second)
    assert [one.img_id for one, _ in joined] == ["0"]
    expected = [
        ("5", "v1.json, item 4 (img_id '5'): captions: is empty"),
        ("2", "v2.json, item 1 (img_id '2'): captions: is empty"),
        ("4", "v1.json: has no image '4', which"),
        ("1", "v2.json: has no image '1', which"),
        (
            "3",
            "v2.json, img_id '3': its triple ('cup', on, 'box', boxes [10, 30, 10, 40] [30, 60, 0, 51]) is not among",
        ),
    ]
    # Each image once, though 2 and 5 are missing beside the other file as well.
    assert [one.img_id for one in unusable] == [img_id for img_id, _ in expected]
    with pytest.raises(VsdError) as caught:
        load_versions(first, second)
    for line, (_, said) in zip(str(caught.value).splitlines(), expected, strict=True):
        assert said in line


def test_the_real_files(real_vsd) -> None:
    """Counts measured on the files when the specification was written, not by this code."""
    paths = [annotation_file(version, "val", real_vsd) for version in (1, 2)]
    joined = load_versions(*paths)
    assert len(joined) == len({one.img_id for one, _ in joined}) == 2927
    assert [one.img_id for one, _ in joined] == [other.img_id for _, other in joined]
    assert sum(len(one.triple_list) for one, _ in joined) == 3138
    assert sum(len(other.triple_list) for _, other in joined) == 2931
    assert sum(len(one.triple_list) > 1 for one, _ in joined) == 159
    assert sum(len(other.triple_list) < len(one.triple_list) for one, other in joined) == 156
    assert [sum(len(versions[version].captions) for versions in joined) for version in (0, 1)] == [16823, 3140]
    relations = Counter(triple.p for one, _ in joined for triple in one.triple_list)
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
