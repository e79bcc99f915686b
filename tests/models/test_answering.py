"""Answers: each picture is read once for all its questions, and the texts are those of stock generation one by one."""

import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from tiny_model import SIZE, write_base, write_samples
from transformers import DynamicCache

from vsd_utils.common.resume import Row
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.prompts import SYSTEM_PROMPTS
from vsd_utils.models import answering, likelihood, shared_prefix, vision_language

NEW_TOKENS = (4, 12, 24)
GRIDS = [[SIZE.tile * height, SIZE.tile * width] for height, width in ((1, 1), (1, 2), (2, 1), (2, 2))]
# Width and height of the pictures, and how many tiles they are seen in, the base view among them.
TILES = {(24, 24): 2, (30, 20): 3, (96, 36): 3, (20, 90): 3, (96, 72): 5, (72, 96): 5, (80, 80): 5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("answering")
    write_base(root / "base", scale=3.0)
    return root


@pytest.fixture(scope="module")
def asked(folder: Path) -> list[Row]:
    """Ask all tasks about each picture, but of one only task 1, of one none of that, and of one task 2 twice."""
    samples = write_samples(folder, len(TILES))
    for sample, size in zip(samples, TILES, strict=True):
        path = folder / sample.triples[0].image
        with Image.open(path) as picture:
            picture.resize(size).save(path)
    rows = answering.questions(samples)
    rows = [row for row in rows if (row["img_id"], row["task"]) not in {("1", 2), ("1", 3), ("3", 1)}]
    once = next(row for row in rows if (row["img_id"], row["task"]) == ("4", 2))
    return [*rows, once | {"id": "twice", "prompt": once["prompt"].replace("concise", "single")}]


@pytest.fixture
def processor(folder: Path) -> Any:
    made = vision_language.load_processor(folder / "base")
    made.image_processor.image_grid_pinpoints = GRIDS
    return made


@pytest.fixture(params=["base", "adapter"])
def model(request: pytest.FixtureRequest, folder: Path) -> Any:
    made = vision_language.load_model("float32", base=folder / "base").eval()
    made.config.image_grid_pinpoints = GRIDS
    if request.param == "base":
        return made
    torch.manual_seed(1)
    layers = r".*language_model.*\.(q_proj|v_proj|down_proj)"
    return get_peft_model(made, LoraConfig(r=4, target_modules=layers, init_lora_weights=False)).eval()


def stock_inputs(processor: Any, folder: Path, row: Row) -> Any:
    """Encode one question with the processor alone; the prompt is Vicuna's, written out."""
    prompt = f"<s>{SYSTEM_PROMPTS['vicuna']} USER: <image>\n{row['prompt']} ASSISTANT:"
    with Image.open(folder / row["image"]) as picture:
        return processor(images=[picture], text=[prompt], add_special_tokens=False, return_tensors="pt")


def stock_answer(model: Any, processor: Any, inputs: Any, task: int, **further: Any) -> str:
    """Answer one question with the library alone."""
    output = model.generate(**inputs, max_new_tokens=NEW_TOKENS[task - 1], do_sample=False, **further)
    text: str = processor.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()


def vision_tower(model: Any) -> Any:
    return next(module for name, module in model.named_modules() if name.endswith("vision_tower"))


def answered(
    model: Any, processor: Any, folder: Path, asked: list[Row], unfinished: Path, batch_size: int, task1: Any
) -> tuple[list[Row], int]:
    """Answer all questions; returns the rows and how many tiles the vision tower has seen for that."""
    settings = answering.Settings(batch_size=batch_size, max_new_tokens=NEW_TOKENS, system_prompt="vicuna", task1=task1)
    tiles: list[int] = []
    hook = vision_tower(model).register_forward_pre_hook(lambda _, given: tiles.append(len(given[0])))
    rows = answering.answer(model, processor, asked, folder, unfinished, settings)
    hook.remove()
    return rows, sum(tiles)


def test_a_picture_is_read_once_and_answers_are_those_of_stock_generation(
    model, processor, folder, asked, tmp_path
) -> None:
    inputs = [stock_inputs(processor, folder, row) for row in asked]
    expected = [stock_answer(model, processor, one, row["task"]) for one, row in zip(inputs, asked, strict=True)]
    assert len(set(expected)) > len(asked) / 2
    options = likelihood.options(processor)
    scores = [likelihood.log_likelihoods(model, one, options)[0].softmax(-1) for one in inputs]
    for batch_size in (1, 3, len(TILES)):
        for task1 in ("generate", "likelihood"):
            name = tmp_path / f"{batch_size} {task1}.jsonl"
            rows, tiles = answered(model, processor, folder, asked, name, batch_size, task1)
            assert tiles == sum(TILES.values())
            assert [(row["id"], row["task"]) for row in rows] == [(row["id"], row["task"]) for row in asked]
            for row, text, probabilities in zip(rows, expected, scores, strict=True):
                if task1 == "likelihood" and row["task"] == 1:
                    assert list(row["probabilities"].values()) == pytest.approx(probabilities.tolist(), abs=1e-5)
                    assert row["raw"] == RELATIONS[int(probabilities.argmax())]
                else:
                    assert row["raw"] == text


@pytest.mark.parametrize("model", ["base"], indirect=True)
def test_no_run_of_tokens_is_written_twice_where_that_is_asked_for(model, processor, folder, asked, tmp_path) -> None:
    inputs = [stock_inputs(processor, folder, row) for row in asked]
    plain = [stock_answer(model, processor, one, row["task"]) for one, row in zip(inputs, asked, strict=True)]
    expected = [
        stock_answer(model, processor, one, row["task"], no_repeat_ngram_size=2)
        for one, row in zip(inputs, asked, strict=True)
    ]
    assert expected != plain
    settings = answering.Settings(
        batch_size=2, max_new_tokens=NEW_TOKENS, no_repeat_ngram_size=2, system_prompt="vicuna", task1="generate"
    )
    rows = answering.answer(model, processor, asked, folder, tmp_path / "rows.jsonl", settings)
    assert [row["raw"] for row in rows] == expected


@pytest.mark.parametrize("model", ["base"], indirect=True)
def test_keys_and_values_of_a_batch_are_gone_when_the_next_is_read(model, processor, folder, asked, tmp_path) -> None:
    held: list[int] = []

    def count(*_: Any) -> None:
        held.append(sum(type(thing) is DynamicCache for thing in gc.get_objects()))

    vision_tower(model).register_forward_pre_hook(count)
    answered(model, processor, folder, asked, tmp_path / "rows.jsonl", 3, "likelihood")
    assert held == [0] * len(answering.batches_to_answer(asked, 3))


@pytest.mark.parametrize("model", ["base"], indirect=True)
def test_a_round_has_the_token_ids_of_stock_encoding(model, processor, folder, asked) -> None:
    for batch in answering.batches_to_answer(asked, 2):
        rounds = answering.rounds_of(batch)
        pictures = [Image.open(folder / row["image"]) for row in rounds[0]]
        texts = [[answering.render_prompt(processor, row["prompt"], "vicuna") for row in rows] for rows in rounds]
        prompts = shared_prefix.encode_rounds(processor, pictures, texts)
        for rows, inputs in zip(rounds, shared_prefix.ask_rounds(model, prompts), strict=True):
            for number, row in enumerate(rows):
                ids = inputs["input_ids"][number][inputs["attention_mask"][number].bool()]
                assert ids.tolist() == stock_inputs(processor, folder, row)["input_ids"][0].tolist()


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("processes", [2, 3])
def test_a_share_of_the_batches_is_cut_into_the_same_batches_again(asked, size: int, processes: int) -> None:
    batches = answering.batches_to_answer(asked, size)
    assert sorted(row["id"] + str(row["task"]) for batch in batches for row in batch) == sorted(
        row["id"] + str(row["task"]) for row in asked
    )
    for number in range(processes):
        share = batches[number::processes]
        assert answering.batches_to_answer([row for batch in share for row in batch], size) == share
