"""Annotations become the conversations that the paper shows, and every one can be read back."""

import re
from collections import Counter
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment
from PIL import Image

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import annotation_file
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Convert, Params
from vsd_utils.data import prompts, samples
from vsd_utils.data.annotations import RELATIONS, Item, Versions, load_versions
from vsd_utils.data.conversations import converse, count, llava_record, three_captions, training_row
from vsd_utils.data.images import (
    OBJECT_COLOUR,
    SUBJECT_COLOUR,
    canvas_size,
    check_boxes,
    draw_boxes,
    empty_canvas,
)
from vsd_utils.data.prompts import CHAT_TEMPLATE, messages, question, read_question, sentences
from vsd_utils.data.samples import Sample

# Read off the figures of the authors' repository, for {s} = "power lines" and {o} = "train".
PUBLISHED = {
    1: "Given the image, choose the most appropriate preposition to complete the sentence: 'The power lines is [BLANK] "
    "the train'. Select from: on, in, next to, under, above, behind, in front of, to the left of, to the right of.",
    2: "Based on the image, provide a concise textual description or phrase of the single spatial relationship between "
    "the two objects power lines and train.",
    3: "Using the image as a reference, generate three detailed and diverse textual descriptions that describe the "
    "spatial relationship between the two objects power lines and train.",
}


@pytest.fixture(scope="module")
def joined(real_vsd: Path) -> list[Versions]:
    return load_versions(annotation_file(1, "val", real_vsd), annotation_file(2, "val", real_vsd))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="module")
def real(joined, pictures) -> list[Sample]:
    """The real validation files as the `boxes` profile makes them, pictures included."""
    settings = Params.model_validate(compose(["profile=boxes"])).convert
    assert (settings.draw_boxes, settings.box_width, settings.canvas_margin) == (True, 0.016, 0.05)
    return list(samples.build(joined, "val", None, settings, pictures))


def sample(v1: list[str], v2: list[str], *triples: tuple[str, str, str]) -> Sample:
    box = {"subject_bbox": (0, 5, 0, 5), "object_bbox": (5, 9, 5, 9)}
    rows = [
        {"subject": s, "relation": p, "object": o, "image": f"images/7_{number}.jpg", **box}
        for number, (s, p, o) in enumerate(triples or [("power lines", "above", "train")])
    ]
    return Sample.model_validate({"id": "7", "size": (9, 9), "triples": rows, "captions_v1": v1, "captions_v2": v2})


# The paper's own example.
TRAIN = sample(
    ["power lines above train.", "Power lines above train.", "there are many power lines above the train."],
    ["The train is under the cables."],
)


@pytest.mark.parametrize("task", PUBLISHED)
def test_questions_are_the_published_ones(task) -> None:
    assert question(task, "power lines", "train") == PUBLISHED[task]


def test_a_model_that_never_sees_v2_learns_three_captions_of_v1() -> None:
    assert three_captions(TRAIN) == (TRAIN.captions_v1[0], TRAIN.captions_v1[2], TRAIN.captions_v2[0])
    assert three_captions(TRAIN, "v1") is None  # two that differ in more than case
    more = sample([*TRAIN.captions_v1, "a train below power lines."], list(TRAIN.captions_v2))
    assert three_captions(more, "v1") == (more.captions_v1[0], more.captions_v1[2], more.captions_v1[3])
    said = " ".join(row.answer for row in converse(more, 0, "v1"))
    assert TRAIN.captions_v2[0] not in said


def test_the_real_files_give_the_counted_conversations(real) -> None:
    paper = Params.model_validate(compose(["profile=paper"]))
    talk = [row for one in real for row in converse(one, paper.convert.task2_captions)]
    assert Counter(row.task for row in talk) == {1: 3138, 2: 11871, 3: 2462}  # 5.97 an image, as counted outside
    assert sum(distinct_v1(one) for one in real) == 11871
    assert len({(row.task, row.id) for row in talk}) == len(talk)
    assert all(read_question(row.question) == (row.task, row.subject, row.object) for row in talk)
    one_each = [row for one in real for row in converse(one, 1)]
    assert Counter(row.task for row in one_each) == {1: 3138, 2: 2927, 3: 2462}

    counts = count(talk)
    assert {task: sum(by_relation.values()) for task, by_relation in counts.items()} == {
        str(task): number for task, number in Counter(row.task for row in talk).items()
    }
    assert (counts["1"]["on"], counts["1"]["to the right of"]) == (533, 108)
    assert all(row.answer == row.relation and row.answer in RELATIONS for row in talk if row.task == 1)


def distinct_v1(one: Sample) -> int:
    return len({caption.lower() for caption in one.captions_v1})


def test_every_real_pair_with_every_relation_is_read_back(joined) -> None:
    names = {(triple.s, triple.o) for item, _ in joined for triple in item.triple_list}
    assert len(names) > 2000
    asked = 0
    for (subject_name, object_name), relation in product(sorted(names), RELATIONS):
        one = sample(["a", "b"], ["c"], (subject_name, relation, object_name))
        for row in converse(one, 1):
            assert (row.subject, row.object) == (subject_name, object_name)
            assert read_question(row.question) == (row.task, subject_name, object_name)
            assert llava_record(row)["triple"] == {"s": subject_name, "o": object_name, "p": relation}
            asked += 1
    assert asked == 3 * len(names) * len(RELATIONS)


names = st.one_of(
    st.sampled_from(
        ["{o}", "{s}", "{}", "%s", "\\1", "cow's ear", "t.v.", "chair.", '12" pan', "[BLANK]", "and", "the"]
    ),
    st.text(min_size=1).map(lambda text: " ".join(text.split())).filter(bool),
)


@given(st.sampled_from([1, 2, 3]), names, names)
def test_any_names_are_read_back(task, subject_name, object_name) -> None:
    assume(task == 1 or " and " not in f"{subject_name} ")  # the one limit, see below
    assert read_question(question(task, subject_name, object_name)) == (task, subject_name, object_name)


def test_a_subject_with_and_in_its_name_is_split_early_and_other_texts_are_refused() -> None:
    assert read_question(question(1, "salt and pepper", "table")) == (1, "salt and pepper", "table")
    assert read_question(question(2, "table", "salt and pepper")) == (2, "table", "salt and pepper")
    assert read_question(question(2, "salt and pepper", "table")) == (2, "salt", "pepper and table")
    for text in ("", "What is on the table?", question(1, "cup", "box")[:-1], "So: " + question(2, "cup", "box")):
        with pytest.raises(ValueError, match="not a question"):
            read_question(text)


@pytest.mark.parametrize(
    ("v1", "v2", "expected"),
    [
        (
            ["there is a cup on a box.", "a cup is on a box.", "cup on a box"],
            "A cup stands on the box.",
            ("cup on a box", "there is a cup on a box.", "A cup stands on the box."),
        ),
        (["a cup is on a box.", "cup on box", "box below"], "v2", ("cup on box", "a cup is on a box.", "v2")),
        (["there is a cup.", "there are cups.", "There is a cup."], "v2", ("there is a cup.", "there are cups.", "v2")),
        (["cup on box", "a cup on a box", "CUP on BOX"], "v2", ("cup on box", "a cup on a box", "v2")),
        (["cup on box", "Cup on box", "V2"], "v2", None),
        (["cup on box", "v2"], "v2", None),
    ],
)
def test_three_captions_are_chosen_in_the_order_of_their_forms(v1, v2, expected) -> None:
    assert three_captions(sample(v1, [v2, "never used"])) == expected


def test_three_captions_of_the_real_files_differ_and_keep_the_order(real) -> None:
    there_is = re.compile(r"there (is|are)\b", re.IGNORECASE)
    verb = re.compile(r"\b(is|are|was|were|has|have|can)\b")
    enough = [one for one in real if three_captions(one)]
    assert len(enough) == 2462
    bare = told = 0
    for one in enough:
        first, second, third = three_captions(one)
        assert len({first.lower(), second.lower(), third.lower()}) == 3
        assert {first, second} <= {*one.captions_v1}
        assert third == one.captions_v2[0]
        others = [caption for caption in one.captions_v1 if caption.lower() != third.lower()]
        if any(there_is.match(caption) for caption in others) and any(not there_is.match(c) for c in others):
            assert there_is.match(second)
            told += 1
        if any(not verb.search(caption.lower()) for caption in others):
            assert not there_is.match(first)
            bare += 1
    assert told > 1000
    assert bare > 1000


def test_both_formats_are_those_of_llava_and_trl() -> None:
    classify, first, second, three = converse(TRAIN, 0)
    assert [row.answer for row in (classify, first, second)] == ["above", *TRAIN.captions_v1[::2]]
    assert llava_record(three) == {
        "id": "7#0/task3",
        "image": "images/7_0.jpg",
        "conversations": [
            {"from": "human", "value": f"<image>\n{PUBLISHED[3]}"},
            {
                "from": "gpt",
                "value": "power lines above train. \n there are many power lines above the train. \n "
                "The train is under the cables.",
            },
        ],
        "task": 3,
        "triple": {"s": "power lines", "o": "train", "p": "above"},
    }
    assert training_row(classify, "none") == {
        "id": "7#0/task1",
        "image": "images/7_0.jpg",
        "prompt": [{"role": "user", "content": PUBLISHED[1]}],
        "completion": [{"role": "assistant", "content": "above"}],
    }
    vicuna = training_row(second, "vicuna")
    assert vicuna["id"] == "7#0/1/task2"
    assert vicuna["prompt"] == [
        {
            "role": "system",
            "content": "A chat between a curious human and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the human's questions.",
        },
        {"role": "user", "content": PUBLISHED[2]},
    ]
    assert count([classify, first, second]) == {"1": {"above": 1}, "2": {"above": 2}}


def test_a_caption_goes_to_the_triple_whose_names_it_holds() -> None:
    one = sample(
        ["a cup on a box", "a Dog under the tree", "both"], ["v2"], ("cup", "on", "box"), ("dog", "under", "tree")
    )
    asked = [row for row in converse(one, 0) if row.task == 2]
    assert [(row.id, row.subject, row.image) for row in asked] == [
        ("7#0/0", "cup", "images/7_0.jpg"),
        ("7#1/0", "dog", "images/7_1.jpg"),
        ("7#0/1", "cup", "images/7_0.jpg"),
    ]
    assert [row.id for row in converse(one, 0) if row.task == 1] == ["7#0", "7#1"]


@pytest.mark.parametrize("file", [False, True])
@pytest.mark.parametrize("system_prompt", ["none", "vicuna"])
def test_the_chat_template_gives_vicunas_format_joined_or_as_its_file_stands(system_prompt, file) -> None:
    # As transformers renders it, https://github.com/lm-sys/FastChat's format with both end tokens written out.
    source = Path(prompts.__file__).with_name("vicuna.jinja").read_text() if file else CHAT_TEMPLATE
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    render = partial(environment.from_string(source).render, bos_token="<s>", eos_token="</s>")
    text, *blocks = "What is  on it?\n", {"type": "text", "text": "Where?"}, {"type": "image"}
    system = "".join(f"{message['content']} " for message in messages("", system_prompt)[:-1])
    asked = messages(text, system_prompt)
    assert render(messages=asked, add_generation_prompt=True) == f"<s>{system}USER: {text} ASSISTANT:"
    answered = [*asked, {"role": "assistant", "content": " on "}, {"role": "user", "content": blocks}]
    assert (
        render(messages=answered, add_generation_prompt=False)
        == f"<s>{system}USER: {text} ASSISTANT:  on </s>USER: <image>\nWhere?"
    )


@given(st.text(), st.integers(1, 4))
def test_any_answer_is_split_into_the_number_of_sentences_asked_for(answer, number) -> None:
    found = sentences(answer, number)
    assert len(found) == number
    assert all(line == " ".join(line.split()) for line in found)
    assert not any(found[found.index("") :]) if "" in found else True
    assert sentences(" \n ".join(found), number) == found


def test_every_real_triple_has_a_picture_with_its_own_boxes(real, pictures) -> None:
    pictured = [(one, triple) for one in real for triple in one.triples]
    assert len({triple.image for _, triple in pictured}) == len(pictured) == 3138
    for one, triple in pictured[::100]:
        with Image.open(pictures / triple.image) as picture:
            assert picture.size == one.size
            top, bottom, left, _ = triple.subject_bbox
            red, green, blue = picture.convert("RGB").getpixel((left, (top + bottom) // 2))
        assert red > 200
        assert max(green, blue) < 90


def test_boxes_are_drawn_where_they_are() -> None:
    image = Image.new("RGB", (40, 30), "white")
    drawn = np.array(draw_boxes(image, subject_bbox=(5, 15, 4, 14), object_bbox=(10, 25, 8, 35), width=1 / 40))
    expected = np.full((30, 40, 3), 255)
    for (top, bottom, left, right), colour in (((10, 25, 8, 35), OBJECT_COLOUR), ((5, 15, 4, 14), SUBJECT_COLOUR)):
        expected[[top, bottom - 1], left:right] = colour
        expected[top:bottom, [left, right - 1]] = colour
    assert (drawn == expected).all()
    assert image.getcolors() == [(1200, (255, 255, 255))]  # the photo itself is left alone
    assert (SUBJECT_COLOUR[0], OBJECT_COLOUR[1]) == (255, 200)
    thick = np.array(draw_boxes(image, (5, 15, 4, 14), (10, 25, 8, 35), width=0.1))
    assert (thick[5:9, 4:14] == SUBJECT_COLOUR).all()


side = st.tuples(st.integers(0, 4000), st.integers(1, 400)).map(lambda ends: (ends[0], sum(ends)))
boxes = st.tuples(side, side).map(lambda both: (*both[0], *both[1]))


@given(st.lists(boxes, min_size=1, max_size=4), st.floats(0, 1))
def test_a_canvas_holds_its_boxes_and_no_smaller_one_does(found, margin) -> None:
    size = canvas_size(found, margin)
    named = {f"box {number}": box for number, box in enumerate(found)}
    right, bottom = (max(box[end] for box in found) for end in (3, 1))
    check_boxes(size, named, "here")
    assert size == pytest.approx((right * (1 + margin), bottom * (1 + margin)), abs=0.5)
    check_boxes((right - 1, bottom - 1), named, "here")  # a pixel's tolerance
    for small in ((right - 2, bottom), (right, bottom - 2)):
        with pytest.raises(VsdError, match=r"here: box \d .* reaches outside the image"):
            check_boxes(small, named, "here")


@pytest.mark.parametrize("size", [(1, 1), (6000, 1), (1, 6000), (2, 3)])
def test_boxes_are_drawn_on_pictures_of_extreme_shapes(size) -> None:
    whole = (0, size[1], 0, size[0])
    drawn = draw_boxes(empty_canvas(size), whole, (0, 1, 0, 1), width=0.2)
    assert drawn.size == size
    assert drawn.getpixel((0, 0)) == SUBJECT_COLOUR


def test_ids_that_are_not_file_names_keep_their_own_pictures(tmp_path) -> None:
    triple = {"s": "cup", "o": "box", "p": "on", "s_bbox": [0, 5, 0, 5], "o_bbox": [5, 9, 5, 9]}
    items = [
        Item.model_validate({"img_id": img_id, "triple_list": [triple], "captions": ["a  cup "]})
        for img_id in ("a/b", "a b", "a_b", "../x")
    ]
    settings = Convert(
        system_prompt="none", draw_boxes=True, box_width=0.1, canvas_margin=0.0, task2_captions=0, task3_captions=None
    )
    made = list(samples.build([Versions(item, item) for item in items], "val", None, settings, tmp_path / "samples"))
    assert len({one.triples[0].image for one in made}) == len(items)
    assert len(list((tmp_path / "samples/val/images").iterdir())) == len(items)
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]
    assert made[0].captions_v1 == ("a cup",)
