"""One copy of a picture for all conversations about it, against TRL's own collator and the model's stock forward."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from tiny_model import write_base, write_samples
from transformers import AutoModelForImageTextToText, AutoProcessor
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import ROOT
from vsd_utils.data.conversations import converse, training_row
from vsd_utils.data.photos import open_photo
from vsd_utils.data.prompts import CHAT_TEMPLATE
from vsd_utils.finetune.packing.attention import use_shared_image_attention
from vsd_utils.finetune.packing.collator import SharedImageCollator
from vsd_utils.finetune.packing.rows import Pack, Picture, by_picture, pack, pack_rows, spread_pictures
from vsd_utils.miniature.scenes.dataset import captions
from vsd_utils.miniature.scenes.scene import compose
from vsd_utils.models.vision_language import load_model

Rows = list[dict[str, Any]]
TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class World:
    """A base model on disk, eight pictures of two shapes, and two to six conversations about each."""

    def __init__(self, folder: Path) -> None:
        write_base(folder / "base", scale=1.0)
        self.folder, self.rows = folder, list(self._rows(folder))
        self.processor = AutoProcessor.from_pretrained(folder / "base")
        self.processor.chat_template = CHAT_TEMPLATE

    @staticmethod
    def _rows(folder: Path) -> Iterator[dict[str, Any]]:
        for index, sample in enumerate(write_samples(folder, 8)):
            short, long = captions(compose(0, "test", index))
            told = sample.model_copy(update={"captions_v1": tuple(short), "captions_v2": tuple(long)})
            yield from [training_row(one, "vicuna") for one in converse(told, task2_captions=0)][: index + 2]

    def model(self, dtype: torch.dtype = torch.float32) -> Any:
        """The stock model with LoRA weights, the same at each call and none of them zero."""
        torch.manual_seed(0)
        lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, target_modules=TARGETS)
        model = get_peft_model(AutoModelForImageTextToText.from_pretrained(self.folder / "base", dtype=dtype), lora)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
        return model

    def packing_model(self, dtype: torch.dtype = torch.float32) -> Any:
        model = self.model(dtype)
        use_shared_image_attention(model.get_base_model())
        return model

    def one_by_one(self, rows: Rows) -> Any:
        """The batch that TRL makes of conversations, each with its picture."""
        examples = [
            {
                "images": [open_photo(self.folder / row["image"])],
                "prompt": row["prompt"],
                "completion": row["completion"],
            }
            for row in rows
        ]
        return DataCollatorForVisionLanguageModeling(self.processor, completion_only_loss=True)(examples)

    def packed(self, *packs: Pack) -> Any:
        return SharedImageCollator(self.processor)(list(pack_rows(packs, self.folder)))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    torch.set_num_threads(1)
    return World(tmp_path_factory.mktemp("packing"))


def rows_of(*packs: Pack) -> Rows:
    return [row for one in packs for picture in one for row in picture.conversations]


def loss_and_gradient(model: Any, batch: Any) -> tuple[float, dict[str, torch.Tensor]]:
    loss = model(**batch).loss
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def branch_ends(mask: torch.Tensor) -> list[int]:
    """The last token of each branch: the one after it does not see it."""
    prefix = mask.shape[1] - mask.shape[0]
    return [end for end in range(len(mask)) if end + 1 == len(mask) or not mask[end + 1, prefix + end]]


def test_what_a_branch_sees_is_its_conversation_as_trl_makes_it(world: World) -> None:
    packs = pack(world.rows, 16, seed=0)
    batch, expected = world.packed(*packs), world.one_by_one(rows_of(*packs))
    seen, start = [], 0
    for mask in batch["branch_masks"]:
        seen += [start + mask[end].nonzero().squeeze(1) for end in branch_ends(mask)]
        start += mask.shape[1]
    assert start == batch["input_ids"].shape[1]
    assert len(seen) == len(expected["input_ids"]) == len(world.rows)
    for row, places in enumerate(seen):
        real = expected["attention_mask"][row] == 1
        assert torch.equal(batch["input_ids"][0, places], expected["input_ids"][row, real])
        assert torch.equal(batch["labels"][0, places], expected["labels"][row, real])
        assert batch["position_ids"][0, places].tolist() == list(range(int(real.sum())))
    # Each picture once, and every token that the loss is on once.
    assert len(batch["pixel_values"]) == len(by_picture(world.rows))
    assert (batch["labels"] != -100).sum() == (expected["labels"] != -100).sum()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_every_gradient_are_those_of_separate_examples(world: World, checkpointing: bool) -> None:
    for one in pack(world.rows, 16, seed=0):
        plain, packing = world.model(), world.packing_model()
        if checkpointing:
            packing.enable_input_require_grads()
            packing.gradient_checkpointing_enable()
            packing.train()
        loss, gradient = loss_and_gradient(plain, world.one_by_one(rows_of(one)))
        found_loss, found = loss_and_gradient(packing, world.packed(one))
        assert found_loss == pytest.approx(loss, rel=1e-6)
        assert found.keys() == gradient.keys()
        worst = max((found[name] - gradient[name]).norm() / gradient[name].norm() for name in gradient)
        assert worst <= 1e-5


def test_in_bfloat16_the_gradient_points_the_same_way(world: World) -> None:
    (one, *_) = pack(world.rows, 16, seed=0)
    _, gradient = loss_and_gradient(world.model(torch.bfloat16), world.one_by_one(rows_of(one)))
    _, found = loss_and_gradient(world.packing_model(torch.bfloat16), world.packed(one))
    whole, found_whole = (torch.cat([g.double().flatten() for g in one.values()]) for one in (gradient, found))
    assert torch.nn.functional.cosine_similarity(whole, found_whole, dim=0) >= 0.9999


def test_a_model_in_four_bits_has_the_same_loss(world: World) -> None:
    (one, *_) = pack(world.rows, 16, seed=0)
    losses = []
    for batch, packs in ((world.one_by_one(rows_of(one)), False), (world.packed(one), True)):
        model = load_model("float32", "4bit", world.folder / "base")
        if packs:
            use_shared_image_attention(model)
        losses.append(model.train()(**batch).loss.item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_branch_does_not_feel_another_but_all_feel_the_picture(world: World) -> None:
    (one, *_) = pack(world.rows, 16, seed=0)
    model, batch = world.packing_model(), world.packed(one)
    mask = batch["branch_masks"][0]
    prefix = mask.shape[1] - mask.shape[0]
    first = slice(prefix, prefix + branch_ends(mask)[0] + 1)
    changed = {**batch, "input_ids": batch["input_ids"].clone()}
    changed["input_ids"][0, first] = batch["input_ids"][0, first].roll(1)
    darker = {**batch, "pixel_values": batch["pixel_values"] * 0.5}
    with torch.inference_mode():
        before, after, dark = (model(**one).logits[0] for one in (batch, changed, darker))
    assert not torch.equal(before[first], after[first])
    assert torch.equal(before[first.stop :], after[first.stop :])
    assert torch.equal(before[: first.start], after[: first.start])
    assert (dark[first] - before[first]).abs().amax(1).min() > 1e-4


def test_fifty_steps_of_trl_end_at_the_weights_of_separate_examples(world: World, tmp_path: Path) -> None:
    """Both sides are TRL's trainer on the same batches in the same order; the reference has nothing of ours in it."""
    pictures = [
        Picture(image, rows[:count]) for (image, rows), count in zip(by_picture(world.rows), [2, 3] * 4, strict=True)
    ]
    packs = [list(two) for two in zip(pictures[::2], pictures[1::2], strict=True)]
    common = {
        "max_steps": 50,
        "learning_rate": 5e-3,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "bf16": False,
        "train_sampling_strategy": "sequential",
        "max_length": None,
        "remove_unused_columns": False,
        "completion_only_loss": True,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "gradient_accumulation_steps": 2,
        "save_strategy": "no",
        "activation_checkpointing": False,
    }
    separate = Dataset.from_list(
        [{key: row[key] for key in ("image", "prompt", "completion")} for row in rows_of(*packs)]
    )
    separate = separate.with_transform(
        lambda batch: {
            "images": [[open_photo(world.folder / name)] for name in batch["image"]],
            **{key: batch[key] for key in ("prompt", "completion")},
        }
    )
    reference = SFTTrainer(
        world.model(),
        SFTConfig(str(tmp_path / "separate"), per_device_train_batch_size=5, **common),
        train_dataset=separate,
        processing_class=world.processor,
    )
    packing = SFTTrainer(
        world.packing_model(),
        SFTConfig(str(tmp_path / "packed"), per_device_train_batch_size=1, **common),
        train_dataset=pack_rows(packs, world.folder),
        data_collator=SharedImageCollator(world.processor),
        processing_class=world.processor,
    )
    losses = []
    for trainer in (reference, packing):
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert len(losses[0]) == 50
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[0][-1] < 0.95 * losses[0][0]  # it did learn
    start = {name: weight for name, weight in world.model().named_parameters() if weight.requires_grad}
    ended = [dict(trainer.model.named_parameters()) for trainer in (reference, packing)]
    moved = {name: (ended[0][name] - start[name]).norm() for name in start}
    assert max((ended[1][name] - ended[0][name]).norm() / moved[name] for name in start) < 1e-3


def test_the_example_of_the_page_runs(world: World, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "packing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    asked = [
        ("images/0.jpg", "What is it?", "A ball."),
        ("images/0.jpg", "Where?", "Left."),
        ("images/1.jpg", "?", "!"),
    ]
    given = {"folder": world.folder, "output": str(tmp_path), "processor": world.processor, "asked": asked}
    if not torch.cuda.is_available():
        example = example.replace("SFTConfig(output,", "SFTConfig(output, use_cpu=True, bf16=False,")
    exec(example, given | {"model": world.model().unload()})


def test_prompts_that_differ_before_the_picture_are_refused(world: World) -> None:
    (one, *_) = pack(world.rows[:2], 16, seed=0)
    row = {
        **one[0].conversations[1],
        "prompt": [{"role": "system", "content": "Be brief."}, world.rows[1]["prompt"][-1]],
    }
    with pytest.raises(VsdError, match=r"differ before it.*finetune\.packing=none"):
        world.packed([one[0]._replace(conversations=[one[0].conversations[0], row])])


@given(st.lists(st.integers(1, 40), min_size=1, max_size=200), st.integers(1, 32), st.integers(0, 3))
def test_packs_hold_every_conversation_once_within_their_limits(counts: list[int], most: int, seed: int) -> None:
    rows = [{"id": f"{image}/{number}", "image": f"{image}"} for image, k in enumerate(counts) for number in range(k)]
    packs = pack(rows, most, seed)
    assert packs == pack(rows, most, seed)
    assert Counter(row["id"] for row in rows_of(*packs)) == Counter(row["id"] for row in rows)
    assert all(0 < len(rows_of(one)) <= most for one in packs)
    assert all(row["image"] == picture.image for one in packs for picture in one for row in picture.conversations)
    # Pictures are cut only where they have to be, and single conversations never fill a pack with pictures.
    pictures = sum(map(len, packs))
    assert pictures == sum(-(-k // most) for k in counts)
    assert max(map(len, packs)) <= -(-most * pictures // len(rows))


def test_of_the_validation_rows_whole_pictures_are_taken(world: World) -> None:
    some = spread_pictures(world.rows, 12)
    assert 6 <= len(some) <= 18
    for picture in by_picture(some):
        assert picture in by_picture(world.rows)
    assert spread_pictures(world.rows, 1000) == world.rows
