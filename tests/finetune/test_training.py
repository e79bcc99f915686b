"""Fine-tuning and generation with a real LLaVA-NeXT, so small that a step takes a moment."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_model import SIZE
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    TrainerCallback,
)

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import write_jsonl
from vsd_utils.common.paths import ROOT
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.conversations import Conversation, training_row
from vsd_utils.data.images import draw_boxes
from vsd_utils.data.prompts import TASKS, messages, question
from vsd_utils.data.samples import PicturedTriple, Sample, as_row, samples_file
from vsd_utils.finetune import adapter
from vsd_utils.finetune.callbacks import publish_curves
from vsd_utils.finetune.dataset import image_rows, show_mask, trainer_data
from vsd_utils.finetune.packing.attention import use_shared_image_attention
from vsd_utils.finetune.recipe import finetune_recipe, lora_config, training_config, whole_maps
from vsd_utils.finetune.trainer import TrainerData, finetuner, last_checkpoint, make_trainer, train_to_the_end
from vsd_utils.finetune.val_answers import ask_while_training
from vsd_utils.metrics.relation_checker import statement
from vsd_utils.miniature.model import architecture, language_pretraining
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.miniature.scenes.scene import compose as compose_scene
from vsd_utils.miniature.scenes.scene import render
from vsd_utils.models import answering, vision_language
from vsd_utils.models.checkpoint import Pointer, write_pointer


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model on disk, and 18 test pictures with their questions."""
    root = tmp_path_factory.mktemp("tiny")
    base = root / "base"
    tokenizer = architecture.make_tokenizer([question(task, "red ball", "box") for task in TASKS] * 3, SIZE.tokens)
    architecture.make_model(tokenizer, SIZE, seed=0).save_pretrained(base)
    architecture.make_processor(tokenizer, SIZE).save_pretrained(base)
    write_pointer(base, Pointer(name_or_path=".", revision=None, source="trained", sha256={}))
    (root / "images").mkdir()
    for index in range(18):
        scene = compose_scene(0, "test", index)
        # Two shapes of picture in turn, so that rows of one batch differ in their number of image tokens.
        size = (96, 72) if index % 2 else (72, 96)
        image = draw_boxes(render(scene, (96, 72)), scene.subject_bbox, scene.object_bbox, 0.02).resize(size)
        image.save(root / "images" / f"{index}.png")
    return root


def samples() -> list[Sample]:
    made = []
    for index in range(18):
        scene = compose_scene(0, "test", index)
        pair = PicturedTriple(
            subject=scene.subject,
            object=scene.object,
            relation=scene.relation,
            subject_bbox=scene.subject_bbox,
            object_bbox=scene.object_bbox,
            image=f"images/{index}.png",
        )
        made.append(Sample(id=str(index), size=(96, 72), triples=(pair,), captions_v1=("a",), captions_v2=("b",)))
    return made


def rows() -> list[dict[str, Any]]:
    made = []
    for sample in samples():
        pair = sample.triples[0]
        for task in TASKS:
            answer = {1: pair.relation, 2: f"{pair.subject} {pair.relation} {pair.object}.", 3: "a. \n b. \n c."}[task]
            asked = {"question": question(task, pair.subject, pair.object), "answer": answer}
            made.append(_row(sample, task, asked))
    return made


def _row(sample: Sample, task: int, asked: dict[str, str]) -> dict[str, Any]:
    pair = sample.triples[0]
    conversation = Conversation(
        id=sample.triple_id(0),
        image=pair.image,
        task=task,
        subject=pair.subject,
        object=pair.object,
        relation=pair.relation,
        **asked,
    )
    return training_row(conversation, "none")


LORA = {"r": 4, "lora_alpha": 8, "lora_dropout": 0.0}


def trainer_of(
    folder: Path, work: Path, *, quantization: str = "none", steps: int = 2, full: bool = False, **more: Any
) -> Any:
    processor = vision_language.load_processor(folder / "base")
    model = vision_language.load_model("float32", quantization, folder / "base")
    training = training_config(
        work,
        seed=1,
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        bf16=False,
        activation_checkpointing=False,
        save_steps=2,
    )
    lora = whole_maps(lora_config(), model) if full else lora_config(**(LORA | more))
    return make_trainer(model, processor, training, TrainerData(image_rows(rows(), folder)), lora=lora)


def test_only_lora_weights_of_the_language_model_learn_and_move(folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(folder, tmp_path)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    names = adapter.adapted_modules(trainer.model)
    assert len(names) == 7 * SIZE.layers
    assert all("language_model" in name for name in names)
    counts = adapter.parameter_counts(trainer.model)
    # Seven maps a layer: four of width x width, two of width x 3 width, one back; rank 4 on both sides.
    assert counts["all"] == sum(weight.numel() for weight in before.values())
    assert counts["trainable"] == SIZE.layers * 4 * (4 * 2 * 32 + 3 * (32 + 96))
    trainer.train()
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved
    assert all("language_model" in name and "lora_" in name for name in moved)
    assert {name for name in before if "lora_B" in name} <= moved


def test_without_a_rank_the_same_maps_are_trained_themselves_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    mapped = adapter.adapted_modules(trainer_of(folder, tmp_path).model)
    trainer = trainer_of(folder, tmp_path, full=True)
    assert adapter.adapted_modules(trainer.model) == mapped
    assert adapter.parameter_counts(trainer.model)["trainable"] == SIZE.layers * (4 * 32 * 32 + 3 * 32 * 96)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    moved = {name for name, weight in trainer.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {f"base_model.model.{name}.modules_to_save.default.weight" for name in mapped}


def test_a_loss_that_is_not_a_number_ends_the_training(folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(folder, tmp_path)
    next(weight for weight in trainer.model.parameters() if weight.requires_grad).data.fill_(float("nan"))
    with pytest.raises(VsdError, match=r"training, step 1: train/loss is nan"):
        trainer.train()


def test_a_further_field_that_trains_the_vision_tower_is_noticed(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(VsdError, match=r"weights outside the language model.*vision_tower"):
        adapter.parameter_counts(trainer_of(folder, tmp_path, bias="all").model)


def test_the_loss_is_on_the_answer_and_its_end_token_only(folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(folder, tmp_path)
    for index, row in enumerate(rows()[:6]):
        batch = trainer.data_collator([trainer.train_dataset[index]])
        shown = show_mask(trainer.processing_class, batch)
        assert shown["answer"] == f" {row['completion'][0]['content']}</s>"
        assert (shown["begin"], shown["end"]) == (1, 1)
        assert shown["prompt"].startswith("<s>USER: <image>\n")
        assert shown["prompt"].endswith(" ASSISTANT:")
        assert shown["image tokens"] > 4


def test_training_and_generation_see_the_same_prompt_token_for_token(folder: Path, tmp_path: Path) -> None:
    trainer = trainer_of(folder, tmp_path)
    processor = trainer.processing_class
    for system_prompt in ("none", "vicuna"):
        for index in range(6):
            row = trainer.train_dataset[index]
            asked = row["prompt"][-1]["content"]
            row = {**row, "prompt": messages(asked, system_prompt)}
            batch = trainer.data_collator([row])
            trained = batch["input_ids"][0][batch["labels"][0] == -100]
            text = answering.render_prompt(processor, asked, system_prompt)
            asked_ids = processor(
                images=trainer.train_dataset[index]["images"],
                text=[text],
                add_special_tokens=False,
                return_tensors="pt",
            )["input_ids"][0]
            assert trained.tolist() == asked_ids.tolist()
            assert asked_ids.tolist().count(processor.tokenizer.bos_token_id) == 1


@pytest.mark.parametrize("r", [4, None])
def test_the_saved_adapter_gives_the_same_logits_and_a_wrong_one_is_refused(
    folder: Path, tmp_path: Path, r: int | None
) -> None:
    trainer = trainer_of(folder, tmp_path / "work", full=r is None)
    trainer.train()
    base = {"name_or_path": ".", "revision": None, "source": "trained"}
    processor = vision_language.load_processor(folder / "base")
    adapter.save(trainer.model, processor, tmp_path / "adapter", base, {"r": r}, {"Data": "test scenes"}, None)
    assert {"adapter_config.json", "adapter_model.safetensors", "README.md"} <= {
        path.name for path in (tmp_path / "adapter").iterdir()
    }
    batch = trainer.data_collator([trainer.train_dataset[0], trainer.train_dataset[1]])
    batch.pop("labels")
    loaded = vision_language.load_adapter(
        vision_language.load_model("float32", base=folder / "base"), tmp_path / "adapter"
    )
    with torch.inference_mode():
        plain = vision_language.load_model("float32", base=folder / "base")(**batch).logits
        assert torch.equal(trainer.model.eval()(**batch).logits, loaded(**batch).logits)
        assert not torch.equal(plain, loaded(**batch).logits)

        with loaded.disable_adapter():
            assert torch.equal(plain, loaded(**batch).logits)

    path = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors["base_model.model.model.vision_tower.lora_A.weight"] = tensors.pop(sorted(tensors)[0])
    save_file(tensors, path)
    with pytest.raises(VsdError, match="do not fit the base model"):
        vision_language.load_adapter(vision_language.load_model("float32", base=folder / "base"), tmp_path / "adapter")


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantised_training_leaves_vision_projector_and_head_alone(
    folder: Path, tmp_path: Path, quantization: str
) -> None:
    trainer = trainer_of(folder, tmp_path, quantization=quantization, steps=1)
    kinds = {
        name: type(module).__name__
        for name, module in trainer.model.named_modules()
        if "Linear4bit" in type(module).__name__ or "Linear8bitLt" in type(module).__name__
    }
    assert kinds
    assert all("language_model" in name for name in kinds)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses
    assert all(0 < loss < 20 for loss in losses)


def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_adapter(folder: Path, tmp_path: Path) -> None:
    whole = trainer_of(folder, tmp_path / "whole", steps=6)
    whole.train()
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, torch\n"
        "from pathlib import Path\n"
        "torch.set_num_threads(1)\n"
        "import test_training\n"
        "trainer = test_training.trainer_of(Path(sys.argv[1]), Path(sys.argv[2]), steps=6)\n"
        "class Kill(test_training.TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        "        if state.global_step == 5:\n"
        "            import os, signal\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "trainer.add_callback(Kill())\n"
        "trainer.train()\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}:{ROOT / 'tests/finetune'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # A checkpoint that the kill cut short has no state yet and must not be taken.
    (tmp_path / "killed" / "checkpoint-5").mkdir()
    checkpoint = last_checkpoint(tmp_path / "killed")
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-4"
    resumed = trainer_of(folder, tmp_path / "killed", steps=6)
    train_to_the_end(resumed)
    for (name, one), (_, other) in zip(whole.model.named_parameters(), resumed.model.named_parameters(), strict=True):
        assert torch.equal(one, other), name


class Stop(TrainerCallback):
    """End a training in the middle, as a kill does: nothing of the trainer's own runs after it."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


def finetuned(
    folder: Path, work: Path, stops: tuple[int, ...], packing: str, r: int | None
) -> tuple[Any, str, dict[str, torch.Tensor]]:
    """Steps, validation loss and answers; curves; weights: of 11 steps over two epochs, ended at each of ``stops``."""
    values = {
        "max_steps": 11,
        "per_device_train_batch_size": 3 if packing == "none" else 6,  # over a whole pass either way
        "per_device_eval_batch_size": 3,
        "learning_rate": 1e-2,
        "seed": 1,
        "warmup_steps": 0.1,
        "lr_scheduler_type": "cosine",
        "weight_decay": 0.1,
        "bf16": False,
        "activation_checkpointing": False,
        "save_steps": 3,
        "eval_steps": 0.45,
        "r": r,
        "lora_alpha": 8,
        "lora_dropout": 0.5,
        "quantization": "none",
        "packing": packing,
        "loss_reduction": "sample" if packing == "shared_image" else "token",
        "val_rows": 3,
        "val_answers": 4,
        "accelerate_config": "ddp",
    }
    write_jsonl(samples_file("val", folder), [as_row(one) for one in samples()])
    for stop in (*stops, None):
        processor, model = (
            vision_language.load_processor(folder / "base"),
            vision_language.load_model("float32", base=folder / "base"),
        )
        if packing == "shared_image":
            use_shared_image_attention(model)
        data = trainer_data({"train": rows(), "val": rows()[:3]}, folder, processor, values)
        trainer = finetuner(model, processor, data, finetune_recipe(values, work))
        left_padding = vision_language.load_processor(folder / "base")
        ask_while_training(trainer, values, left_padding, rows()[:3], folder, "none")
        if stop is None:
            train_to_the_end(trainer)
            break
        trainer.add_callback(Stop(stop))
        with pytest.raises(KeyboardInterrupt):
            train_to_the_end(trainer)
    loss = trainer.evaluate()["eval_loss"]
    publish_curves(work, work / "published")
    curves = sorted((work / "published").rglob("*.tsv"))
    assert [path.parent.name for path in curves] == ["train", "train", "val", "val"]
    answers = sorted((work / "published" / "answers").iterdir())
    assert [path.stem for path in answers] == ["000000", "000005", "000010", "000011"]
    weights = {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}
    said = "".join(path.read_text() for path in answers)
    return (trainer.state.global_step, loss, said), "".join(path.read_text() for path in curves), weights


@pytest.mark.parametrize(("packing", "r"), [("none", 4), ("shared_image", 4), ("shared_image", None)])
def test_wherever_a_training_stops_it_ends_at_the_same_step_losses_and_weights(
    folder: Path, tmp_path: Path, packing: str, r: int | None
) -> None:
    outcome, curves, weights = finetuned(folder, tmp_path / "whole", (), packing, r)
    assert weights
    assert outcome[0] == 11
    steps = [line.split("\t")[0] for line in curves.splitlines()]
    assert steps == ["step", "1", "3", "6", "9", "10", "11"] * 2 + ["step", "5", "10", "11"] + [
        "step",
        "0",
        "5",
        "10",
        "11",
    ]
    for stops in ((2,), (4, 5), (7, 8, 9, 11), (10,)):
        found = finetuned(folder, tmp_path / f"{stops}", stops, packing, r)
        assert found[:2] == (outcome, curves), stops
        assert all(torch.equal(found[2][name], weights[name]) for name in weights), stops
    # Killed after the last checkpoint: it is loaded, and no step taken.
    found = finetuned(folder, tmp_path / "whole", (), packing, r)
    assert found[:2] == (outcome, curves)
    assert all(torch.equal(found[2][name], weights[name]) for name in weights)


def answered(folder: Path, model: Any, unfinished: Path, batch_size: int, **more: Any) -> list[dict[str, Any]]:
    processor = vision_language.load_processor(folder / "base")
    settings = answering.Settings(
        batch_size=batch_size, max_new_tokens=(4, 6, 8), system_prompt="none", task1="generate"
    )
    return answering.answer(model, processor, answering.questions(samples()), folder, unfinished, settings, **more)


def test_a_batch_of_many_answers_as_many_batches_of_one(folder: Path, tmp_path: Path) -> None:
    model = vision_language.load_model("float32", base=folder / "base").eval()
    one = answered(folder, model, tmp_path / "one.jsonl", 1)
    assert answered(folder, model, tmp_path / "many.jsonl", 7) == one
    assert len({row["raw"] for row in one}) > 3
    assert [len(row["sentences"]) for row in one] == [1] * 18 + [1] * 18 + [3] * 18


def test_killed_answering_asks_whole_batches_of_one_go_and_no_other(folder: Path, tmp_path: Path) -> None:
    model = vision_language.load_model("float32", base=folder / "base").eval()
    batches: list[torch.Size] = []
    model.register_forward_pre_hook(lambda _, __, given: batches.append(given["input_ids"].shape), with_kwargs=True)
    unfinished = tmp_path / "whole.jsonl"
    whole = answered(folder, model, unfinished, 7)
    of_one_go = list(batches)
    lines = unfinished.read_text().splitlines(keepends=True)
    # What a kill leaves: the first batch of seven pictures, two rows of the second and a line cut short.
    unfinished.write_text("".join(lines[:23]) + lines[23][:25])
    batches.clear()
    assert answered(folder, model, unfinished, 7) == whole
    assert batches == of_one_go[-len(batches) :]
    assert len(batches) < len(of_one_go)
    assert sorted(unfinished.read_text().splitlines(keepends=True)) == sorted(lines)


def test_blank_images_make_answers_depend_on_the_question_alone(folder: Path, tmp_path: Path) -> None:
    model = vision_language.load_model("float32", base=folder / "base").eval()
    blank = [row for row in answered(folder, model, tmp_path / "blank.jsonl", 6, blank=True) if row["task"] == 1]
    sizes = {row["id"]: Image.open(folder / f"images/{row['img_id']}.png").size for row in blank}
    by_question: dict[tuple[str, tuple[int, int]], set[str]] = {}
    for row in blank:
        by_question.setdefault((row["prompt"], sizes[row["id"]]), set()).add(row["raw"])
    assert all(len(texts) == 1 for texts in by_question.values())


def test_a_checkpoint_with_a_missing_weight_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "base", tmp_path / "base")
    path = tmp_path / "base" / "model.safetensors"
    tensors = load_file(path)
    tensors.pop(next(name for name in tensors if "vision_tower" in name))
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(VsdError, match="missing_keys"):
        vision_language.load_model("float32", base=tmp_path / "base")


def test_alignment_never_sees_the_relation_of_a_picture() -> None:
    pictures = Pictures(None, 0, 0.016, 0.05)
    dataset = language_pretraining.alignment_rows(pictures, ["ball", "box", "toy car"], 200, seed=0)
    assert isinstance(dataset, Dataset)
    told = agreed = 0
    for number in range(200):
        asked, answer = dataset[number]["prompt"][-1]["content"], dataset[number]["completion"][0]["content"]
        if asked.startswith("Where are"):
            pairs = [(one, two) for one in ("ball", "box") for two in ("box", "toy car")]
            assert not any(statement(answer, one, two).relations for one, two in pairs)
            assert not any(f" {relation} " in f" {answer} " for relation in RELATIONS)
            continue
        said = max((relation for relation in RELATIONS if relation in answer), key=len)
        if "Hint:" in asked:
            assert f" is {said} the " in asked.split("Hint:")[1]
        told += 1
        agreed += said == compose_scene(0, "base", language_pretraining.FIRST_PICTURE + number).relation
    # One in nine by chance; 40 draws or so.
    assert 20 < told < 80
    assert agreed / told < 0.35


def test_untrained_the_tiny_model_would_rather_say_what_it_has_read() -> None:
    tokenizer = architecture.make_tokenizer([question(task, "red ball", "box") for task in TASKS] * 3, SIZE.tokens)
    model = architecture.make_model(tokenizer, SIZE, seed=0).eval()
    first = len(architecture.SPECIAL) + 1
    drawn = [torch.randperm(len(tokenizer) - first, generator=torch.Generator().manual_seed(n)) for n in range(20)]
    read = torch.stack(drawn)[:, :20] + first
    with torch.inference_mode():
        logits = model(input_ids=read).logits[:, -1]
        model.config.text_config._attn_implementation = "eager"
        seen = model(input_ids=read, output_attentions=True).attentions[0]
    place = torch.arange(1, 20)
    back = seen[:, :, place, place - 1].mean((0, 2))
    assert back[0] > 0.7
    assert back[1] < 0.3
    # The last token itself aside, which any model with its output weights tied to the embedding would repeat.
    inside = logits.gather(1, read[:, :-1]).mean(1)
    outside = logits[:, first:].mean(1)
    assert (inside > outside).all()


def test_the_papers_recipe_is_a_set_of_parameters() -> None:
    paper = Params.model_validate(compose(["profile=paper"]))
    assert paper.base.name == "llava-hf/llava-v1.6-vicuna-13b-hf"
    recipe = paper.finetune
    assert (recipe.r, recipe.lora_alpha, recipe.learning_rate, recipe.num_train_epochs) == (128, 256, 2e-4, 1.0)
    assert (recipe.lr_scheduler_type, recipe.warmup_steps, recipe.weight_decay) == ("cosine", 0.03, 0)
    assert (recipe.dtype, recipe.bf16) == ("bfloat16", True)
    assert recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps == 16


def test_lora_on_the_real_architecture_takes_the_language_models_maps_and_no_others() -> None:
    vision = CLIPVisionConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=24,
        num_attention_heads=16,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        hidden_size=5120, intermediate_size=13824, num_hidden_layers=40, num_attention_heads=40, vocab_size=32064
    )
    grids = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration(
            LlavaNextConfig(vision_config=vision, text_config=text, image_grid_pinpoints=grids)
        )
        adapted = get_peft_model(model, lora_config(r=128, lora_alpha=256, lora_dropout=0.0))
    # Counted by hand: 40 layers of four 5120 x 5120 maps and three of 5120 x 13824, rank 128 on both sides of each.
    expected = 40 * 128 * (4 * (5120 + 5120) + 3 * (5120 + 13824))
    assert adapter.parameter_counts(adapted)["trainable"] == expected == 500_695_040
    assert len(adapter.adapted_modules(adapted)) == 7 * 40
