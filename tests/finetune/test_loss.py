"""What the loss is a mean of, against PyTorch's own cross entropy on the stock forward pass."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import write_base, write_samples
from torch.nn.functional import cross_entropy

from vsd_utils.data.conversations import converse, training_row
from vsd_utils.finetune.dataset import image_rows
from vsd_utils.finetune.loss import answer_weights
from vsd_utils.finetune.packing.attention import use_shared_image_attention
from vsd_utils.finetune.packing.collator import SharedImageCollator
from vsd_utils.finetune.packing.rows import by_picture, pack_rows
from vsd_utils.finetune.recipe import lora_config, training_config
from vsd_utils.finetune.trainer import TrainerData, make_trainer
from vsd_utils.models import vision_language

CAPTIONS = ("red ball on a box.", "the red ball lies on top of the big blue box.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("loss")
    write_base(made / "base", scale=1.0)
    return made


def rows_in(folder: Path) -> list[dict[str, Any]]:
    told = [sample.model_copy(update={"captions_v1": CAPTIONS}) for sample in write_samples(folder, 3)]
    return [training_row(one, "none") for sample in told for one in converse(sample, task2_captions=0)]


def trainer_of(folder: Path, work: Path, loss_reduction: str, *, packed: bool) -> Any:
    rows, processor = rows_in(folder), vision_language.load_processor(folder / "base")
    model = vision_language.load_model("float32", base=folder / "base")
    data = TrainerData(image_rows(rows, folder))
    if packed:
        use_shared_image_attention(model)
        data = TrainerData(pack_rows([by_picture(rows)], folder), collator=SharedImageCollator(processor))
    training = training_config(work, seed=0, max_steps=1, bf16=False, activation_checkpointing=False)
    lora = lora_config(r=4, lora_alpha=8, lora_dropout=0.0)
    return make_trainer(model, processor, training, data, lora=lora, loss_reduction=loss_reduction)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("loss_reduction", ["token", "sample"])
def test_the_loss_is_the_mean_that_its_name_says(folder: Path, tmp_path: Path, loss_reduction: str, packed) -> None:
    # 1. The plain way: each conversation by itself through the stock forward pass, full logits.
    plain = trainer_of(folder, tmp_path, "token", packed=False)
    answers = []
    for row in plain.train_dataset:
        batch = plain.data_collator([row])
        with torch.no_grad():
            logits = plain.model.eval()(**{name: value for name, value in batch.items() if name != "labels"}).logits
        labels = batch["labels"][0, 1:]
        answers.append(cross_entropy(logits[0, :-1], labels, ignore_index=-100, reduction="none")[labels != -100])
    assert len({len(answer) for answer in answers}) > 2
    expected = (
        torch.cat(answers).mean() if loss_reduction == "token" else torch.stack([a.mean() for a in answers]).mean()
    )
    # 2. The trainer's way, all conversations in one batch.
    trainer = trainer_of(folder, tmp_path, loss_reduction, packed=packed)
    batch = trainer.data_collator(list(trainer.train_dataset))
    tokens = (batch["labels"] != -100).sum()
    loss = trainer.compute_loss(trainer.model.eval(), batch, num_items_in_batch=tokens)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4))
def test_answers_weigh_alike_and_tokens_one_on_average(rows: list[list[bool]]) -> None:
    in_loss = torch.tensor(rows)
    weights = answer_weights(in_loss)
    assert (weights[~in_loss] == 0).all()
    if not in_loss.any():
        return
    assert weights[in_loss].mean().item() == pytest.approx(1.0, rel=1e-5)
    totals = []
    for row, of_row in zip(rows, weights.tolist(), strict=True):
        for place, inside in enumerate(row):
            if inside and (place == 0 or not row[place - 1]):
                totals.append(0.0)
            if inside:
                totals[-1] += of_row[place]
    assert max(totals) == pytest.approx(min(totals), rel=1e-5)
