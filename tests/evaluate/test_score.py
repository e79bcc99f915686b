"""The scoring command and the submission files, as a stranger would use them."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsd_utils.__main__ import main
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, read_jsonl, write_json
from vsd_utils.common.paths import ROOT, annotation_file
from vsd_utils.data.annotations import RELATIONS, Item, load_items
from vsd_utils.evaluate.baselines import human_submission, predict_relations, sentence_tasks, template_submission
from vsd_utils.evaluate.comparison import compare_systems, disagreements
from vsd_utils.evaluate.references import fact_of, load_references
from vsd_utils.evaluate.score_files import write_scores
from vsd_utils.evaluate.scores import Submission, score_systems
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.evaluate.submissions import SubmissionError, export_submission, predicted_relations, read_submission
from vsd_utils.report.published import COLUMNS, comparison_table, load_published

BOXES = {"s_bbox": [0, 10, 0, 10], "o_bbox": [5, 20, 5, 20]}


def item(img_id: str, *labels: str, names: tuple[str, str] = ("cow's ear", 'the "t.v."')) -> Item:
    triples = [{"s": names[0], "o": names[1], "p": label} | BOXES for label in labels]
    return Item.model_validate({"img_id": img_id, "triple_list": triples, "captions": ["a caption"]})


def entry(img_id: str, *labels: str, sentence: Any = ("a sentence",), **changed: Any) -> dict[str, Any]:
    triples = [
        triple.model_dump(mode="json") | {"p": label} | changed
        for triple, label in zip(item(img_id, *["on"] * len(labels)).triple_list, labels, strict=True)
    ]
    return {"img_id": img_id, "triple_list": triples, "description": sentence}


ITEMS = [item(name, "on") for name in "abcdef"]
GOOD = [entry(name, "on") for name in "abcdef"]


def test_every_problem_is_reported_with_its_place(tmp_path) -> None:
    broken = [
        GOOD[0],
        GOOD[0],
        entry("b", "beside"),
        entry("c", "on", sentence=["one", "two"]),
        entry("d", "on", s="horse"),
        entry("e", "on", s_bbox=[0, 10, 0, 11]),
        entry("z", "on"),
        {"img_id": "f", "description": "no triples"},
        "no entry",
    ]
    write_json(tmp_path / "task1-2.json", broken)
    with pytest.raises(SubmissionError) as caught:
        read_submission(tmp_path / "task1-2.json", "1-2", [*ITEMS, item("g", "on")])
    said = "\n".join(caught.value.problems)
    for expected in (
        "item 1 (img_id 'a'): duplicate img_id, first in item 0",
        "item 2 (img_id 'b'), triple_list.0.p: unknown label 'beside'; the nine are on, in,",
        "item 3 (img_id 'c'), description: 2 sentences, expected 1",
        "item 4 (img_id 'd'), triple_list.0: in the references there is no such pair, found 'horse'",
        "item 5 (img_id 'e'), triple_list.0: in the references the pair's boxes are [0, 10, 0, 10] and",
        "item 6 (img_id 'z'): the references have no such image",
        "item 7 (img_id 'f'), triple_list: is missing",
        "item 8, the item:",
        "img_id 'g' is missing; the references have 7 images",
    ):
        assert expected in said, said
    assert "task1-2.json" in str(caught.value)
    write_json(tmp_path / "task3.json", [{"img_id": name, "description": ["x"] * 2} for name in "abcdef"] * 9)
    with pytest.raises(SubmissionError, match="and 34 more"):
        read_submission(tmp_path / "task3.json", "3", ITEMS)


@settings(max_examples=50)
@given(st.permutations(range(4)), st.lists(st.sampled_from([*RELATIONS, ""]), min_size=3, max_size=3))
def test_order_means_nothing(order, given_labels) -> None:
    several = item("m", "on", "under", "in")
    predicted = [entry("m", *given_labels), *GOOD[:3]]
    shuffled = [predicted[number] for number in order]
    references = [several, *ITEMS[:3]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "task1-2.json")
        write_json(path, shuffled)
        entries = read_submission(path, "1-2", references)
    assert [one.img_id for one in entries] == ["m", "a", "b", "c"]
    answers = predicted_relations(entries[0], several)
    assert sorted(answers) == sorted(given_labels)
    right = sum(a == g for a, g in zip(answers, ("on", "under", "in"), strict=True))
    assert right == len({*given_labels} & {"on", "under", "in"})


def test_predictions_come_back_from_their_files(tmp_path) -> None:
    rows = []
    for name in "abcdef":
        head = {"id": f"{name}#0", "img_id": name}
        rows += [head | {"task": 1, "sentences": ["on" if name < "d" else "well, on"]}]
        rows += [
            head | {"task": 2, "sentences": [f"{name} \u2028 'q'"]},
            head | {"task": 3, "sentences": ["", name, "x\ny"]},
        ]
    first, third = export_submission(reversed(rows), ITEMS, tmp_path)
    entries = read_submission(first, "1-2", ITEMS)
    assert [e.triple_list[0].p for e in entries] == ["on"] * 3 + [""] * 3
    assert [e.description[0] for e in entries] == [f"{name} \u2028 'q'" for name in "abcdef"]
    assert read_submission(third, "3", ITEMS)[1].description == ("", "b", "x\ny")
    with pytest.raises(SubmissionError, match=r"'a#0' of task 3: is missing"):
        export_submission(rows[:2] + rows[3:], ITEMS, tmp_path)
    with pytest.raises(SubmissionError, match="no such triple"):
        export_submission([rows[0] | {"id": "a#7"}], ITEMS, tmp_path)


@pytest.fixture(scope="module")
def real(real_vsd: Path, tmp_path_factory) -> Path:
    """Thirty real images, a template system and what people wrote."""
    folder = tmp_path_factory.mktemp("real")
    items, others = (load_items(annotation_file(version, "val", real_vsd))[500:530] for version in (1, 2))
    for version, known in (("v1", items), ("v2", others)):
        write_json(folder / f"{version}.json", [one.model_dump(mode="json") for one in known])
    always = {one.img_id: ["on"] * len(one.triple_list) for one in items}
    for name, files in (("on", template_submission(items, always)), ("people", human_submission(items, others))):
        write_json(folder / name / "task1-2.json", files[0])
        write_json(folder / name / "task3.json", files[1])
    return folder


def test_the_command(real, tmp_path, monkeypatch) -> None:
    files = ["--task12", "on/task1-2.json", "--task3", "on/task3.json", "--references-v1", "v1.json", "--references-v2"]
    command = [
        sys.executable,
        "-m",
        "vsd_utils",
        "score",
        *files,
        "v2.json",
        "--no-spice",
        "--resamples",
        "200",
        "--output",
    ]
    for name in ("one.json", "two.json"):
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "VSD_CACHE": str(tmp_path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*command, str(tmp_path / name)], cwd=real, capture_output=True, env=environment)
        assert done.returncode == 0, done.stderr.decode()
    table = done.stdout.decode()
    assert "mbleu4_by_rank" in table
    assert "not computed: SPICE was switched off" in table
    scores = read_json(tmp_path / "one.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert str(real) not in (tmp_path / "one.json").read_text()
    assert scores["task2"]["spice"] is None
    assert scores["not_computed"]["task2.spice"] == "SPICE was switched off"
    assert scores["z"]["code"]["overall_macro_by_rank"] is None
    low, high = scores["intervals"]["task2"]["bleu4"]
    assert low <= scores["task2"]["bleu4"] <= high
    rows = read_jsonl(tmp_path / "one.items.jsonl")
    assert [row["img_id"] for row in rows] == [one.img_id for one in load_items(real / "v1.json")]
    for row in rows:
        assert len(row["task3"]["mbleu4_by_sentence"]) == 3
        assert row["task2"]["relation_in_sentence"] == [100.0 * (row["relation"] == "on")] or row["relation"] == "above"
    mean = sum(row["task2"]["rouge_l"][0] for row in rows) / len(rows)
    assert scores["task2"]["rouge_l"] == pytest.approx(mean, abs=1e-5)


def test_the_command_says_what_is_wrong(real, tmp_path, capsys) -> None:
    shared = ["--references-v1", str(real / "v1.json"), "--output", str(tmp_path / "scores.json"), "--no-spice"]
    assert main(["score", *shared]) == 2
    assert "give --task12, --task3 or both" in capsys.readouterr().err
    assert main(["score", "--task3", str(real / "on/task3.json"), *shared]) == 2
    assert "VSDv2 annotation file is needed" in capsys.readouterr().err
    assert main(["score", "--task12", str(real / "on/task3.json"), *shared]) == 2
    said = capsys.readouterr().err
    assert "60 problems, nothing was scored" in said
    assert "triple_list: is missing" in said
    assert "description: 3 sentences, expected 1" in said
    assert main(["score", "--task12", str(tmp_path / "none.json"), *shared]) == 2
    assert "none.json: no such file" in capsys.readouterr().err
    (tmp_path / "cut.json").write_text('[{"img_id": ')
    assert main(["score", "--task12", str(tmp_path / "cut.json"), *shared]) == 2
    assert "not JSON" in capsys.readouterr().err
    assert not (tmp_path / "scores.json").exists()


def test_systems_together_apart_and_against_each_other(real, tmp_path) -> None:
    systems = {name: Submission(real / name / "task1-2.json", real / name / "task3.json") for name in ("on", "people")}
    references = load_references(real / "v1.json", real / "v2.json")
    engine = Engine(cache=tmp_path, spice=False)
    both = score_systems(systems, references, engine=engine, resamples=100).systems
    alone = score_systems({"people": systems["people"]}, references, engine=engine, resamples=100).systems
    assert alone["people"].scores == both["people"].scores
    compared = compare_systems(both["people"], both["on"], resamples=100)
    assert compared["task1.accuracy"].difference == pytest.approx(100 - both["on"].scores["task1"]["accuracy"])
    assert compared["task1.accuracy"].p == pytest.approx(1 / 101)
    assert "z.code.z1_macro" in compared
    assert disagreements(both["on"]) == {"high_spice_wrong_relation": [], "low_spice_right_relation": []}

    content = read_json(real / "on/task1-2.json")
    write_json(tmp_path / "few.json", content[:1])
    with pytest.raises(SubmissionError, match="29 problems"):
        score_systems({"few": Submission(tmp_path / "few.json", None)}, references, engine=engine)
    few = score_systems(
        {"few": Submission(tmp_path / "few.json", None)}, references, engine=engine, only_predicted=True
    ).systems
    scores = few["few"].scores
    assert scores["task2"]["n"] == 1
    assert "two images" in scores["not_computed"]["task2.cider"]
    assert "two images" in scores["not_computed"]["intervals"]
    assert scores["not_computed"]["task3"]
    with pytest.raises(VsdError, match="same images"):
        compare_systems(few["few"], both["on"])


def test_sentences_without_an_image_beside_systems(real, tmp_path) -> None:
    systems = {"on": Submission(real / "on/task1-2.json", real / "on/task3.json")}
    references = load_references(real / "v1.json", real / "v2.json")
    engine = Engine(cache=tmp_path, spice=False)
    items, others = references.items[1], references.items[2]
    train = [triple for one in items[:15] for triple in one.triple_list]
    scored, found = score_systems(
        systems, references, sentence_tasks(items, others, train), engine=engine, resamples=100
    )
    assert scored["on"].scores == score_systems(systems, references, engine=engine, resamples=100).systems["on"].scores
    stated = {key: result.measures["relation_in_sentence"].value for key, result in found.items()}
    on = sum("on" in fact_of(one)[2] for one in items)
    for version in ("v1", "v2"):
        assert stated["template, gold relation", version] == 100
        assert stated["template, always on", version] == pytest.approx(100 * on / len(items))
        assert stated["template, boxes and names regression", version] < 100
    # The system "on" writes the same sentence for task 2, which is scored against v1.
    same = found["template, always on", "v1"]
    assert same.measures["bleu4"].value == scored["on"].scores["task2"]["bleu4"]
    assert same.measures["cider"].value == scored["on"].scores["task2"]["cider"]
    assert {key for key in found if key[0].startswith("human")} == {
        ("human, v2 caption", "v1"),
        ("human, first v1 caption", "v2"),
    }


def test_image_free_baselines_rank_as_measured_before(real_vsd) -> None:
    items = load_items(annotation_file(1, "val", real_vsd))
    train = [triple for one in items[:1500] for triple in one.triple_list]
    test = [one.triple_list[0] for one in items[1500:2500]]
    predicted = predict_relations(train, test)
    right = {
        name: sum(p == t.p for p, t in zip(given_, test, strict=True)) / len(test) for name, given_ in predicted.items()
    }
    assert {*predicted["majority"]} == {"on"}
    assert right["majority"] < right["names_look_up"] < right["names_regression"] < right["boxes_and_names_regression"]
    assert right["majority"] < right["boxes_regression"] < right["boxes_and_names_regression"]
    assert 0.38 < right["boxes_and_names_regression"] < 0.50
    with pytest.raises(VsdError, match="two relations"):
        predict_relations(train[:1], test)


def test_published_figures(tmp_path) -> None:
    systems = load_published()
    assert all(system.source and system.reading for system in systems)
    frame = comparison_table("VSDv1 test").set_index("system")
    assert frame.loc["VL-T5 end2end", "accuracy"] == 54.38
    assert frame.loc["SD3", "bleu4"] == 56.23
    for data in COLUMNS:
        own = comparison_table(data).set_index("system").loc["LLaVA-VSD"]
        assert own[list(COLUMNS[data])].isna().all()
        assert "could not be read" in own["note"]
    added = tmp_path / "mine.yaml"
    row = {"system": "X", "data": "VSDv2 test", "source": "s", "reading": "r", "scale": 1, "scores": {"spice": 0.5}}
    added.write_text(json.dumps({"systems": [row]}))
    assert comparison_table("VSDv2 test", published=load_published(added)).loc[0, "spice"] == 50
    added.write_text(json.dumps({"systems": [row | {"scores": {"spicy": 1}}]}))
    with pytest.raises(VsdError, match=r"mine.yaml.*spicy"):
        load_published(added)


# --- any input, any output ------------------------------------------------------------------------------------------

KEYS = ("img_id", "triple_list", "description", "captions", "s", "o", "p", "s_bbox", "o_bbox")
JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**4200, -(10**400), 1e308, float("inf"), float("nan"), "on", "a", ".", [0, 10, 0, 10]]),
        st.floats(),
        st.text(st.one_of(st.characters(), st.just("\ud800")), max_size=3),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=2), inner),
    max_leaves=8,
)
REFERENCES = [one.model_dump(mode="json") for one in ITEMS[:2]]
FILES = {
    "task12": GOOD[:2],
    "task3": [{"img_id": name, "description": ["on"] * 3} for name in "ab"],
    "v1": REFERENCES,
    "v2": REFERENCES,
}


def places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """Where something in a JSON value may be put in place of what is there."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [path, *(place for key, one in inner for place in places(one, *path, key))]


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(list(FILES)), JSON, st.booleans())
def test_any_json_ends_in_a_result_or_a_message_that_names_the_file(data, name, value, only_predicted) -> None:
    content = json.loads(json.dumps(FILES))
    *path, last = (name, *data.draw(st.sampled_from(places(content[name]))))
    around = content
    for key in path:
        around = around[key]
    around[last] = value
    with tempfile.TemporaryDirectory() as folder:
        files = {each: Path(folder, f"{each}.json") for each in FILES}
        for each, file in files.items():
            file.write_text(json.dumps(content[each]))
        options: dict[str, Any] = {"engine": Engine(java="/nowhere"), "resamples": 2, "only_predicted": only_predicted}
        said = ""
        try:
            references = load_references(files["v1"], files["v2"])
            scored = score_systems({"x": Submission(files["task12"], files["task3"])}, references, **options)
            write_scores(scored.systems["x"], Path(folder, "scores.json"))
        except VsdError as error:
            said = str(error)
        assert not said or any(str(file) in said for file in files.values())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("null", "expected a JSON list"),
        ("17", "expected a JSON list"),
        ("NaN", "NaN is no JSON value"),
        ('[{"img_id": -Infinity}]', "-Infinity is no JSON value"),
        ("[" * 100_000, "nested deeper"),
        ("[" * 900 + "]" * 900, ""),  # read or not, as deep as Python's stack is then
        (f'[{{"img_id": {"9" * 5000}}}]', "too many digits"),
        ('{"img_id": "a"}\n{"img_id": "b"}\n', "looks like JSON lines"),
        ('[{"img_id": "a"},\n ]', "trailing comma before ']' in line 1"),
        ('[{"img_id": "a", }]', "trailing comma before '}' in line 1"),
        ('[{"img_id": "a"}', "cut short"),
        ("<!DOCTYPE html>", "web page"),
        (b"\xff\xfe[\x00", "cut short"),
        (b'["\xe9"]', "UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["predictions", "references"])
def test_what_is_wrong_with_a_file_is_said(content, said, name, tmp_path) -> None:
    write_json(tmp_path / "predictions", GOOD)
    write_json(tmp_path / "references", [one.model_dump(mode="json") for one in ITEMS])
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    systems = {"x": Submission(tmp_path / "predictions", None)}
    with pytest.raises(VsdError) as caught:
        score_systems(systems, load_references(tmp_path / "references"), only_predicted=True)
    assert str(tmp_path / name) in str(caught.value)
    assert said in str(caught.value)


def test_references_without_words_are_placeholders(tmp_path) -> None:
    write_json(tmp_path / "predictions", GOOD)
    placeholders = [one.model_dump(mode="json") | {"captions": [".", "..."]} for one in ITEMS]
    write_json(tmp_path / "references", placeholders)
    references = load_references(tmp_path / "references")
    with pytest.raises(VsdError, match=r"references: .* of 6 of 6 images are placeholders.*no words"):
        score_systems({"x": Submission(tmp_path / "predictions", None)}, references)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_is_read_in_every_encoding_that_it_comes_in(encoding, tmp_path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes('["é \u2028"]'.encode(encoding))
    assert read_json(path) == ["é \u2028"]


@pytest.fixture
def inputs(tmp_path) -> Path:
    """A folder with the command's four files."""
    for name, content in FILES.items():
        write_json(tmp_path / f"{name}.json", content)
    return tmp_path


def command(folder: Path, output: Path, *more: str) -> list[str]:
    files = {f"--{name}": name for name in ("task12", "task3")} | {
        f"--references-{name}": name for name in ("v1", "v2")
    }
    given_ = [word for option, name in files.items() for word in (option, str(folder / f"{name}.json"))]
    return [*given_, "--no-spice", "--resamples", "2", "--output", str(output), *more]


def test_no_output_replaces_an_input_or_is_found_out_late(inputs, capsys, monkeypatch) -> None:
    monkeypatch.chdir(inputs)
    write_json(inputs / "x.items.jsonl", FILES["task3"])
    (inputs / "hard.json").hardlink_to(inputs / "v1.json")
    (inputs / "soft.json").symlink_to(inputs / "v1.json")
    (inputs / "soft.items.jsonl").symlink_to("task12.json")
    (inputs / "folder.json").mkdir()
    before = {path: path.read_bytes() for path in inputs.iterdir() if path.is_file()}
    overwritten = ("v1.json", inputs / "../" / inputs.name / "task3.json", "hard.json", "soft.json", inputs / "v2.json")
    for output in overwritten:
        assert main(["score", *command(inputs, Path(output))]) == 2
        assert "would be overwritten" in capsys.readouterr().err
    assert main(["score", *command(inputs, Path("x.json")), "--task3", "x.items.jsonl"]) == 2  # the file beside it
    assert "x.items.jsonl: would be overwritten" in capsys.readouterr().err
    for output in ("folder.json", ".", "", "v1.json/new.json", os.devnull, f"{'x' * 240}.json"):
        assert main(["score", *command(inputs, Path(output), "--references-v1", "none.json")]) == 2
        said = capsys.readouterr().err
        assert (
            "Choose another output" in said or "expected the path of a file" in said or "not the name of a file" in said
        )
    assert {path: path.read_bytes() for path in inputs.iterdir() if path.is_file()} == before


def test_a_score_that_cannot_be_computed_has_an_exit_status_of_its_own(inputs, capsys) -> None:
    output = inputs / "scores.json"
    assert main(["score", *command(inputs, output)]) == 0
    assert main(["score", *command(inputs, output, "--java", str(inputs / "java"))]) == 3
    said = capsys.readouterr()
    assert "not computed: task2.bleu4, " in said.err
    assert "java: does not run" in said.err
    assert "relation_in_sentence" in said.out
    scores = read_json(output)
    assert scores["task1"]["accuracy"] == 100
    assert scores["task2"]["bleu4"] is None
    assert "does not run" in scores["not_computed"]["task2.bleu4"]
