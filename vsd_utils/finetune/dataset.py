"""What TRL's trainer is given: rows with their images, what makes a batch of them, and what the loss is on."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from PIL import Image
from trl import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from vsd_utils.data.photos import open_photo
from vsd_utils.finetune.packing.collator import SharedImageCollator
from vsd_utils.finetune.packing.rows import by_picture, pack, pack_rows, spread_pictures
from vsd_utils.finetune.recipe import SHARED_IMAGE
from vsd_utils.finetune.trainer import TrainerData


def trainer_data(
    rows: Mapping[str, Sequence[dict[str, Any]]], folder: Path, processor: Any, values: Mapping[str, Any]
) -> TrainerData:
    """Make the data of the finetune stage out of ``rows`` by split, whose images are files below ``folder``.

    Of ``values``, the stage's parameters, ``packing`` says what a row is: a conversation, or a pack of pictures.
    """
    splits = {"train": list(rows["train"]), "val": spread_pictures(rows["val"], values["val_rows"])}
    if values["packing"] != SHARED_IMAGE:
        return TrainerData(*(image_rows(some, folder) for some in splits.values()))
    made = {
        split: pack_rows(pack(some, values[f"per_device_{kind}_batch_size"], values["seed"]), folder)
        for (split, some), kind in zip(splits.items(), ("train", "eval"), strict=True)
    }
    return TrainerData(**made, collator=SharedImageCollator(processor))


def describe_batches(rows: Sequence[dict[str, Any]], values: Mapping[str, Any]) -> str:
    """Say what a training batch holds under the stage's parameters ``values``."""
    conversations = values["per_device_train_batch_size"]
    if values["packing"] != SHARED_IMAGE:
        return f"a batch is {conversations} conversations, each with its picture"
    pictures, packs = len(by_picture(rows)), pack(rows, conversations, values["seed"])
    held, shown = len(rows) / len(packs), sum(map(len, packs)) / len(packs)
    return (
        f"{len(rows) / pictures:.2f} conversations a picture; a batch is on average {held:.1f} of them about "
        f"{shown:.1f} pictures, each read once"
    )


def image_rows(rows: Sequence[dict[str, Any]], folder: Path) -> Dataset:
    """Make prompt/completion rows whose image is loaded only when its row is asked for: few are held at once."""
    dataset = Dataset.from_list([{key: row[key] for key in ("image", "prompt", "completion")} for row in rows])
    return dataset.with_transform(
        lambda batch: _with_images(batch, [open_photo(folder / name) for name in batch["image"]])
    )


def spread(rows: list[Any], count: int) -> list[Any]:
    """Take at most ``count`` rows, evenly spread, so that all tasks and relations have their share."""
    return [rows[index * len(rows) // count] for index in range(count)] if count < len(rows) else rows


def collator(processor: Any, training: SFTConfig) -> DataCollatorForVisionLanguageModeling:
    """Make what turns rows into a batch, as SFTTrainer would by itself."""
    return DataCollatorForVisionLanguageModeling(
        processor=processor,
        max_length=training.max_length,
        completion_only_loss=training.completion_only_loss,
        pad_to_multiple_of=training.pad_to_multiple_of,
    )


def show_mask(processor: Any, batch: dict[str, torch.Tensor], row: int = 0) -> dict[str, Any]:
    """Decode one row of a training batch: the text that the loss ignores, the text it is on, and token counts.

    Image tokens are folded into one. ``begin`` and ``end`` count the begin and end tokens of the whole row.
    """
    tokenizer, image = processor.tokenizer, processor.image_token_id
    # 1. The row without its padding.
    whole = batch["attention_mask"][row] == 1  # (padded length,) of (rows, padded length)
    ids, labels = batch["input_ids"][row][whole], batch["labels"][row][whole]  # (tokens,) each
    # 2. A run of image tokens as one, and the tokens that the loss is on: the last ones of the row.
    folded = [int(token) for place, token in enumerate(ids) if token != image or place == 0 or ids[place - 1] != image]
    answer = [int(token) for token, label in zip(ids, labels, strict=True) if label != -100]
    return {
        "prompt": tokenizer.decode(folded[: len(folded) - len(answer)]),
        "answer": tokenizer.decode(answer),
        "image tokens": int((ids == image).sum()),
        "tokens": len(ids),
        "tokens in the loss": len(answer),
        "begin": int((ids == tokenizer.bos_token_id).sum()),
        "end": int((ids == tokenizer.eos_token_id).sum()),
    }


def _with_images(batch: dict[str, list[Any]], images: Iterable[Image.Image]) -> dict[str, list[Any]]:
    return {
        "images": [[image] for image in images],
        "prompt": batch["prompt"],
        "completion": batch["completion"],
    }
