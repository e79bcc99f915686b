"""The authors' conversations are told apart by how they were split: three made-up splits are named, a fourth is not."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from vsd_utils.__main__ import main
from vsd_utils.common.paths import annotation_file
from vsd_utils.data.annotations import load_versions
from vsd_utils.data.conversations import converse, distinct, llava_record, three_captions
from vsd_utils.data.prompts import question
from vsd_utils.data.samples import Sample, outline

Rows = Iterator[tuple[int, str, str, str]]  # task, subject, object, answer


def load(folder: Path) -> list[Sample]:
    joined = load_versions(*(annotation_file(version, "val", folder) for version in (1, 2)))
    return [outline(versions, "", (0, 0)) for versions in joined]


@pytest.fixture(scope="module")
def some(real_vsd, tmp_path_factory) -> Path:
    """A folder with the first 400 images of the real validation files."""
    folder = tmp_path_factory.mktemp("some")
    for version in (1, 2):
        path = annotation_file(version, "val", folder)
        path.parent.mkdir()
        path.write_text(json.dumps(json.loads(annotation_file(version, "val", real_vsd).read_text())[:400]))
    return folder


def record(sample: Sample, task: int, subject: str, other: str, answer: str) -> dict[str, Any]:
    """As somebody else would write it: photos in folders, the tag behind the question, no id of ours."""
    turns = [("human", f"{question(task, subject, other)}\n<image>"), ("gpt", answer)]
    suffix = "" if "." in sample.id else ".jpg"
    return {
        "id": 0,
        "image": f"VG_100K/{sample.id}{suffix}",
        "conversations": [{"from": who, "value": value} for who, value in turns],
    }


def every_caption_again(sample: Sample) -> Rows:
    first = sample.triples[0]
    for one in sample.triples:
        yield 1, one.subject, one.object, one.relation
    for caption in sample.captions_v1:
        yield 2, first.subject, first.object, caption
    yield 3, first.subject, first.object, " \n ".join([*sample.captions_v1[:2], sample.captions_v2[0]])


def one_an_image(sample: Sample) -> Rows:
    first = sample.triples[0]
    yield 1, first.subject, first.object, first.relation
    for caption in distinct(sample.captions_v1)[:2]:
        yield 2, first.subject, first.object, caption
    if three_captions(sample):
        for one in sample.triples:
            yield 3, one.subject, one.object, "\n".join(reversed(three_captions(sample)))


def anyhow(sample: Sample) -> Rows:
    chance = random.Random(sample.id)
    first = sample.triples[0]
    if chance.random() < 0.5:
        yield 1, first.subject, first.object, "on"
    for caption in sample.captions_v1:
        if chance.random() < 0.3:
            yield 2, first.subject, first.object, caption
    if chance.random() < 0.5:
        yield 3, first.subject, first.object, "a cup. \n a box. \n both."


TRIPLES, TRIPLE_OF_IMAGE = "one for each triple", "one for each image, of its first triple"
DISTINCT, AGAIN = "one for each distinct VSDv1 caption", "one for each VSDv1 caption, repeated ones again"
TWO = "at most 2 distinct VSDv1 captions of each image, the first ones"
ENOUGH, IMAGE = "one for each image with at least three distinct captions", "one for each image"
TRIPLES_OF_ENOUGH = "one for each triple of an image with at least three distinct captions"
SPLITS: list[tuple[Callable[[Sample], Rows], dict[str, str | None]]] = [
    (every_caption_again, {"1": TRIPLES, "2": AGAIN, "3": IMAGE}),
    (one_an_image, {"1": TRIPLE_OF_IMAGE, "2": TWO, "3": TRIPLES_OF_ENOUGH}),
    (anyhow, {"1": None, "2": None, "3": None}),
]


def compared(records: list[dict[str, Any]], real_vsd: Path, folder: Path) -> dict[str, Any]:
    (folder / "theirs.json").write_text(json.dumps(records))
    words = ["compare-120k", f"{folder / 'theirs.json'}", "--annotations", f"{real_vsd}", "--split", "val"]
    assert main([*words, "--output", f"{folder / 'compared.json'}"]) == 0
    return json.loads((folder / "compared.json").read_text())


def test_our_own_split_is_recognised(real_vsd, some, tmp_path, capsys) -> None:
    samples = load(real_vsd)
    ours = [llava_record(one) for sample in samples for one in converse(sample, 0)]
    for number, row in enumerate(ours):
        row["image"] = f"images/{row['id'].split('#')[0]}_0.jpg" if number % 2 else "elsewhere.jpg"
    asked_otherwise = ours[::40]
    for row in asked_otherwise:
        names = row["triple"]
        row["conversations"][0]["value"] = f"<image>\nWhere is the {names['s']}, seen from the {names['o']}?"
    found = compared(ours, real_vsd, tmp_path)
    assert found["conversations"] == {"theirs": 17471, "ours": 17471, "published": 121339}
    assert {task: row["ours"] for task, row in found["templates"].items()} == {"1": 3138, "2": 11871, "3": 2462}
    assert found["unknown_templates"] == {"Where is the {name}, seen from the {name}?": len(asked_otherwise)}
    # A fortieth of them asks otherwise, so what is left is nearly, no more exactly.
    assert found["explained_by"] == {"1": TRIPLES, "2": DISTINCT, "3": ENOUGH}
    assert found["verdict"] == f"task 1: {TRIPLES} (nearly); task 2: {DISTINCT} (nearly); task 3: {ENOUGH} (nearly)"
    assert found["task3_answers"]["the same three sentences as ours"] == found["templates"]["3"]["theirs"]
    said = capsys.readouterr().out
    assert "not ours: Where is the {name}, seen from the {name}?" in said
    assert f"verdict: {found['verdict']}" in said
    whole = [llava_record(one) for sample in load(some) for one in converse(sample, 0)]
    assert compared(whole, some, tmp_path)["verdict"].count("(exactly)") == 3


@pytest.mark.parametrize(("split", "rules"), SPLITS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_made_up_split_is_named_or_none_is(some, tmp_path, split, rules) -> None:
    found = compared([record(sample, *row) for sample in load(some) for row in split(sample)], some, tmp_path)
    assert found["explained_by"] == rules
    assert found["verdict"].startswith("none of these splits explains the whole") == (None in rules.values())
    assert found["with_an_annotated_image"] == found["conversations"]["theirs"]
    if split is every_caption_again:
        images = json.loads(annotation_file(1, "val", some).read_text())
        numbers = [sum(len(one[name]) for one in images) for name in ("triple_list", "captions")]
        assert [row["theirs"] for row in found["templates"].values()] == [*numbers, len(images)]
    if split is one_an_image:
        assert found["task3_answers"]["the same in another order"] == found["templates"]["3"]["theirs"]


def test_without_any_known_image_the_totals_are_compared(some, tmp_path) -> None:
    records = [record(sample, *row) for sample in load(some) for row in every_caption_again(sample)]
    for row in records:
        row["image"] = "somewhere.jpg"
    found = compared(records, some, tmp_path)
    assert found["with_an_annotated_image"] == 0
    assert set(found["explained_by"].values()) == {None}
    best = {task: rules[0] for task, rules in found["rules"].items()}
    assert {task: (rule["rule"], rule["verdict"]) for task, rule in best.items()} == {
        "1": (TRIPLES, "in number alone"),
        "2": (AGAIN, "in number alone"),
        "3": (IMAGE, "in number alone"),
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "expected a JSON list of conversations"),
        ('[{"image": "7.jpg"}]', "record 0.conversations: Field required"),
        ('[{"image": "7.jpg", "conversations": [{"from": "gpt", "value": "on"}]}]', "expected human and gpt in turn"),
    ],
)
def test_a_file_of_another_format_is_refused(some, tmp_path, capsys, content, said) -> None:
    (tmp_path / "x.json").write_text(content)
    assert main(["compare-120k", f"{tmp_path / 'x.json'}", "--annotations", f"{some}", "--split", "val"]) == 2
    assert said in capsys.readouterr().err
