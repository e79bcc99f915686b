"""What the report says: which images a row is about, and figures that show all of their text and colours."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vsd_utils.common.files import write_json
from vsd_utils.data.annotations import RELATIONS, Item
from vsd_utils.data.samples import PicturedTriple, Sample
from vsd_utils.evaluate.comparison import compare_systems
from vsd_utils.evaluate.references import load_references
from vsd_utils.evaluate.scores import Evaluation, explain_absent_tasks, score_systems, submission_in
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.evaluate.submissions import export_submission, refinement_systems
from vsd_utils.report import figures, tables
from vsd_utils.report import systems as report_systems

BOXES = {"s_bbox": [0, 10, 0, 10], "o_bbox": [5, 20, 5, 20]}
IMAGES = "abcdef"
NOTE = (
    "Profile paper with fetch.annotations=/data/$one/" + "W" * 200 + "/vsd, finetune.quantization=4bit, "
    "finetune.per_device_train_batch_size=1, finetune.gradient_accumulation_steps=16, finetune.r=8. "
    "Data: VSD annotations (the authors' files, "
    "the authors' splits; photos); 5,855 test images. Base model: llava-hf/llava-v1.6-vicuna-13b-hf at e66fcaaa7d; "
    "refiner: Qwen/Qwen2-7B-Instruct at f2826a00ce. Seed 0, code sha256 0123456789, parameters "
    "sha256 0123456789."
)


def items() -> list[Item]:
    triples = [[{"s": f"cup {i}", "o": "box", "p": label} | BOXES] for i, label in zip(IMAGES, RELATIONS, strict=False)]
    rows = [
        {"img_id": i, "triple_list": triple, "captions": [f"the cup {i} is {triple[0]['p']} the box.", f"a cup {i}."]}
        for i, triple in zip(IMAGES, triples, strict=True)
    ]
    return [Item.model_validate(row) for row in rows]


def answers(said: str) -> list[dict[str, Any]]:
    rows = []
    for one in items():
        forms = [f"the {one.triple_list[0].s} is {said} the box.", f"a box and a {one.triple_list[0].s} there.", said]
        for task, sentences in ((1, [said]), (2, forms[:1]), (3, forms)):
            rows.append({"id": f"{one.img_id}#0", "img_id": one.img_id, "task": task, "sentences": sentences})
    return rows


def refined(rows: list[dict[str, Any]], given: str) -> list[dict[str, Any]]:
    return [
        row
        | ({"reason": "accepted", "sentences": ["one", "two", "three"]} if row["img_id"] in given else {})
        | ({} if row["img_id"] in given else {"reason": "not_selected"})
        for row in rows
        if row["task"] == 3
    ]


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """All sentences that the tests below score, so that Java has to start once."""
    folder = tmp_path_factory.mktemp("cache")
    scored(tmp_path_factory.mktemp("all"), IMAGES, folder)
    return folder


def scored(folder: Path, given: str, cache: Path) -> dict[str, Evaluation]:
    """What notebook 5 does with a run whose refiner was given the images ``given``."""
    rows = answers("on")
    for name, some in ({"lora": rows} | refinement_systems(rows, refined(rows, given))).items():
        answered = {row["img_id"] for row in some}
        export_submission(some, [one for one in items() if one.img_id in answered], folder / name)
    write_json(folder / "gold.json", [one.model_dump(mode="json") for one in items()])
    systems = {name: submission_in(folder / name) for name in report_systems.SYSTEMS if (folder / name).is_dir()}
    references = load_references(folder / "gold.json", folder / "gold.json")
    engine = Engine(cache=cache, spice=False)
    return score_systems(systems, references, engine=engine, resamples=50, only_predicted=True).systems


def test_refined_rows_are_about_the_images_given_to_the_refiner_and_no_others(tmp_path, cache) -> None:
    evaluations = scored(tmp_path, "bdf", cache)
    pair = [evaluations[name] for name in ("lora_given_to_refiner", "lora_refined")]
    assert [one.images for one in pair] == [("b", "d", "f")] * 2
    for one in pair:
        explain_absent_tasks(one, report_systems.TASK3_ONLY)
    systems = {name: one.scores for name, one in evaluations.items()}
    assert [systems[name]["task3"]["n"] for name in systems] == [6, 3, 3]
    # The unrefined row is what + LoRA's own sentences score on these images.
    sentences = evaluations["lora"].items
    expected = np.mean([row["task3"]["rouge_l"] for row in sentences if row["img_id"] in "bdf"])
    assert systems["lora_given_to_refiner"]["task3"]["rouge_l"] == pytest.approx(expected, abs=1e-6)
    assert systems["lora_refined"]["task3"]["rouge_l"] < expected
    low, high = systems["lora_refined"]["intervals"]["task3"]["rouge_l"]
    assert low <= systems["lora_refined"]["task3"]["rouge_l"] <= high

    main = tables.main_table(systems)
    rows = ["+ LoRA", "+ LoRA, the 3 images given to the refiner", "+ LoRA, refined, same 3 images"]
    assert list(main.index) == rows
    assert list(main["images"]) == ["6", "3", "3"]
    for label, (task, _) in tables.MAIN.items():
        for row in rows[1:]:
            assert (main.loc[row, label] == "") == (task != "task3" or "SPICE" in label)
    assert tables.task_table(systems, "task3")["n"].to_dict() == dict(zip(rows, ("6", "3", "3"), strict=True))
    assert list(tables.task_table(systems, "task2").index) == list(tables.relation_table(systems).index) == rows[:1]
    challenge = tables.challenge_table(systems)
    assert list(challenge["images"]) == ["6", "3", "3"]
    assert set(challenge.loc[rows[2], ["z1_macro, code", "z2, code", "overall_macro_by_rank, code"]]) == {""}
    # Every empty cell has its reason.
    missing = tables.empty_scores(systems)
    reasons = missing[missing["reason"] == report_systems.TASK3_ONLY]
    assert dict(zip(reasons["system"], reasons["scores"], strict=True)) == dict.fromkeys(rows[1:], "task1; task2")
    for name in systems:
        assert report_systems.labels(systems)[name] in set(missing["system"])

    compared = compare_systems(pair[1], pair[0], resamples=50, tasks=["task3"])
    assert {key.split(".")[0] for key in compared} == {"task3"}
    paired = tables.paired_table({"refined - LoRA": compared}, {"refined - LoRA": len(pair[0].images)})
    assert set(paired["images"]) == {"3"}
    assert set(paired["score"]) == {"T3 mBLEU-4", "T3 relation"}


def test_what_was_not_given_to_the_refiner_changes_no_refined_row(tmp_path, cache) -> None:
    first = scored(tmp_path / "on", "bdf", cache)
    rows = answers("on")
    changed = [row | {"sentences": ["x"] * len(row["sentences"])} if row["img_id"] in "ace" else row for row in rows]
    for name, some in refinement_systems(changed, refined(changed, "bdf")).items():
        assert {row["img_id"] for row in some} == {*"bdf"}
        export_submission(some, [one for one in items() if one.img_id in "bdf"], tmp_path / name)
        again = (tmp_path / name / "task3.json").read_bytes()
        assert again == (tmp_path / "on" / name / "task3.json").read_bytes()
        assert first[name].scores["sources"].keys() == {"task3"}


def test_all_images_given_to_the_refiner_make_one_whole_refined_system(tmp_path, cache) -> None:
    evaluations = scored(tmp_path, IMAGES, cache)
    systems = {name: one.scores for name, one in evaluations.items()}
    assert list(report_systems.labels(systems).values()) == ["+ LoRA", "+ LoRA, refined"]
    assert systems["lora_refined"]["task1"] == systems["lora"]["task1"]
    assert list(tables.main_table(systems)["images"]) == ["6", "6"]
    assert "all test images" in report_systems.refinement_note(systems)
    # With fewer images in a later run the file of tasks 1 and 2 goes.
    assert submission_in(tmp_path / "lora_refined").task12 is not None
    assert scored(tmp_path, "bd", cache)["lora_refined"].scores["task1"]["n"] == 0


def test_one_image_given_to_the_refiner_has_scores_and_no_interval_or_test(tmp_path, cache) -> None:
    evaluations = scored(tmp_path, "c", cache)
    systems = {name: one.scores for name, one in evaluations.items()}
    assert list(tables.main_table(systems).index)[2] == "+ LoRA, refined, same 1 image"
    assert "[" not in tables.main_table(systems)["T3 mBLEU-4"].iloc[2]
    compared = compare_systems(evaluations["lora_refined"], evaluations["lora_given_to_refiner"], tasks=["task3"])
    paired = tables.paired_table({"refined - LoRA": compared}, {"refined - LoRA": 1})
    assert paired.to_numpy().tolist() == [["refined - LoRA", "1", "", "", "", ""]]
    figures.save(figures.refinement(systems), "refinement", NOTE, tmp_path)


def edges(path: Path) -> np.ndarray:
    """The outermost pixels of a picture, all four sides."""
    pixels = np.asarray(Image.open(path).convert("L"))
    return np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])


@pytest.mark.parametrize("width", [3.3, 6.4, 9.0, 13.2])
@pytest.mark.parametrize("note", [NOTE, "Profile smoke."])
def test_the_note_below_a_figure_is_all_there(tmp_path, width, note) -> None:
    figure, axis = plt.subplots(figsize=(width, 3), layout="constrained")
    axis.plot([0, 1])
    figures.save(figure, "one", note, tmp_path)
    assert "".join(figure.get_supxlabel().split()) == "".join(note.split())
    assert (edges(tmp_path / "one.png") == 255).all()


def photo(path: Path, size: tuple[int, int]) -> int:
    """Write a photo of many colours and say how many."""
    down, along = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([255 * down / size[1], 255 * along / size[0], (down * along) % 256], axis=-1).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_pictures_keep_their_colours_and_long_sentences_their_place(tmp_path) -> None:
    samples, scores = [], {}
    for name, size in zip("abcd", [(300, 200), (150, 400), (640, 200), (200, 200)], strict=True):
        assert photo(tmp_path / f"{name}.png", size) > 10_000
        boxes = {"subject_bbox": (0, 5, 0, 5), "object_bbox": (5, 9, 5, 9)}
        pair = PicturedTriple(subject="a $5 bill " + name, object="t.v. $", relation="on", image=f"{name}.png", **boxes)
        long = f"there is a man in a $20 shirt who stands {'very ' * 12}far to the left of the {'o' * 60} $ box {name}."
        samples.append(Sample(id=name, size=size, triples=(pair,), captions_v1=(long,), captions_v2=(long,)))
        scores[name] = {
            "task1": [{"gold": "on", "predicted": "to the right of", "correct": False}],
            "task2": {"sentences": [long], "spice": [50.0]},
            "task3": {"sentences": [long, long, long]},
        }
    changed = {"a": {"task3": {"sentences": ["another.", "one more.", "last one."]}}}
    chosen = {"best": ["a", "b"], "worst": ["c"], "random": ["d", "b"]}
    figure = figures.examples(samples, scores, changed, chosen, tmp_path)
    figures.save(figure, "examples", NOTE, tmp_path)
    assert (edges(tmp_path / "examples.png") == 255).all()
    pixels = np.asarray(Image.open(tmp_path / "examples.png").convert("RGB")).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 10_000
    shown = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert ["refined: another." in text for text in shown] == [True, False, False, False, False]
    # No text reaches into the next column or the next row.
    boxes = [text.get_window_extent() for axis in figure.axes for text in (*axis.texts, *title(axis))]
    overlaps = [(i, j) for i, one in enumerate(boxes) for j, other in enumerate(boxes[:i]) if one.overlaps(other)]
    assert overlaps == []


def title(axis: Any) -> list[Any]:
    return [
        text
        for text in axis.get_children()
        if isinstance(text, plt.Text) and text.get_text() and text not in axis.texts
    ]
