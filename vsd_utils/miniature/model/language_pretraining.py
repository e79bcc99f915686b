"""Pre-training of the tiny model's language side: first to speak, then to speak of what the vision tower sees.

There are two kinds of rows. *Hints*: one of the three tasks' questions with the relation given away in the prompt,
chosen at random and so unrelated to the picture: the language model learns the words and the forms of the answers, and
to copy names, first without pictures. *Places*: where the two boxes are, how far apart and which thing hides the other,
in numbers, never in relation words. Some questions stand without a hint, and the answer is a guess. Nothing teaches the
model to read a relation off a picture; what it can do about that afterwards, LoRA has taught it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

from vsd_utils.common.sections import Tiny
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.prompts import SENTENCE_BREAK, TASKS, messages, question
from vsd_utils.finetune.recipe import training_config
from vsd_utils.finetune.trainer import TrainerData, make_trainer
from vsd_utils.miniature.model.pictures import Picture, Pictures

PLACES = "Where are the {s} and the {o}?"
HINT = " Hint: the {s} is {p} the {o}."
FORMS = (
    "{s} {p} {o}.",
    "there is a {s} {p} the {o}.",
    "the {s} is {p} the {o}.",
    "In this room, the {s} is {p} the {o}.",
)
GRID = 12  # cells of the picture's width and height in which places are told
PLACE_SHARE = 0.8
GUESS_SHARE = 0.25  # of the questions: without a hint, so that an untuned model answers in form, and guesses
FIRST_PICTURE = 10_000_000  # the tower has seen those before
RECIPE = {  # SFTConfig's fields, for both trainings; the rates and sizes are parameters
    "num_train_epochs": 1.0,
    "warmup_steps": 0.03,  # of all steps
    "lr_scheduler_type": "cosine",
    "bf16": False,
    "activation_checkpointing": False,
    "save_strategy": "no",
}


def vocabulary_texts(names: list[str]) -> Iterator[str]:
    """Yield texts with every word of the rows, for the tokenizer to learn."""
    for number, name in enumerate(names):
        other = names[number - 1]
        for relation in RELATIONS:
            yield from (form.format(s=name, o=other, p=relation) for form in FORMS)
        yield from (question(task, name, other) for task in TASKS)
        yield PLACES.format(s=name, o=other)
    yield from (f" {number} {number:+d} {-number:+d}" for number in range(GRID + 1))


def hint_row(names: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Ask a task's question, mostly with the relation given away; names and relation are chosen at random.

    Returns a prompt/completion row for TRL.
    """
    subject_name, object_name = _two_names(names, rng)
    task, relation = int(rng.choice(TASKS)), str(rng.choice(RELATIONS))
    stated = [form.format(s=subject_name, o=object_name, p=relation) for form in FORMS]
    three = SENTENCE_BREAK.join((stated[0], stated[1], stated[3]))
    answer = {1: relation, 2: stated[int(rng.integers(3))], 3: three}[task]
    asked = question(task, subject_name, object_name)
    if rng.random() >= GUESS_SHARE:
        asked += HINT.format(s=subject_name, o=object_name, p=relation)
    return {"prompt": messages(asked), "completion": [{"role": "assistant", "content": answer}]}


def place_row(picture: Picture, names: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Ask where the boxes of a picture are; the names are chosen at random and need not be what it shows.

    Returns a prompt/completion row for TRL.
    """
    subject_name, object_name = _two_names(names, rng)
    return {
        "prompt": messages(PLACES.format(s=subject_name, o=object_name)),
        "completion": [{"role": "assistant", "content": _places(picture, subject_name, object_name)}],
    }


def alignment_rows(pictures: Pictures, names: list[str], count: int, seed: int) -> Dataset:
    """Make a data set of ``count`` rows with one picture each, which are made when they are asked for."""
    numbers = Dataset.from_dict({"number": list(range(count))})

    def make(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        rows = []
        for number in batch["number"]:
            rng = np.random.default_rng((seed, number))
            picture = pictures[FIRST_PICTURE + number]
            row = place_row(picture, names, rng) if rng.random() < PLACE_SHARE else hint_row(names, rng)
            rows.append({"images": [picture.image], **row})
        return {column: [row[column] for row in rows] for column in rows[0]}

    return numbers.with_transform(make)


def teach_language(
    model: LlavaNextForConditionalGeneration,
    processor: LlavaNextProcessor,
    names: list[str],
    tiny: Tiny,
    folder: Path,
    seed: int,
) -> float:
    """Train the language model in place on hint rows without pictures, as Vicuna read before LLaVA saw.

    ``names`` are chosen from as often as they occur; ``folder`` is TRL's to write to. Returns the last logged loss.
    """
    # 1. Rows of text, ``tiny.language_rows`` of them, in the format of the conversations.
    processor.tokenizer.chat_template = processor.chat_template
    rows = [hint_row(names, np.random.default_rng((seed, 1, number))) for number in range(tiny.language_rows)]
    # 2. One pass over them; vision tower and projector take no part, for there is no image.
    training = training_config(
        folder,
        seed=seed,
        per_device_train_batch_size=tiny.language_batch,
        learning_rate=tiny.language_learning_rate,
        adam_beta2=0.95,
        **RECIPE,
    )
    data = TrainerData(Dataset.from_list(rows))
    trainer = make_trainer(model, processor.tokenizer, training, data, name="language model")
    trainer.train()
    return _last_loss(trainer.state.log_history)


def align(
    model: LlavaNextForConditionalGeneration,
    processor: LlavaNextProcessor,
    pictures: Pictures,
    names: list[str],
    tiny: Tiny,
    folder: Path,
    seed: int,
) -> float:
    """Train projector and language model in place, the tower frozen.

    ``names`` are chosen from as often as they occur; ``folder`` is TRL's to write to. Returns the last logged loss.
    """
    # 1. The tower keeps what it has learned to see.
    model.model.vision_tower.requires_grad_(False)
    # 2. One pass over ``tiny.align_rows`` rows with a picture each.
    training = training_config(
        folder,
        seed=seed,
        per_device_train_batch_size=tiny.align_batch,
        learning_rate=tiny.align_learning_rate,
        dataloader_num_workers=1,  # it renders the pictures while this process trains; the order stays the same
        **RECIPE,
    )
    rows = alignment_rows(pictures, names, tiny.align_rows, seed)
    trainer = make_trainer(model, processor, training, TrainerData(rows), name="alignment")
    trainer.train()
    # 3. All weights as they were, for whoever trains next.
    model.requires_grad_(True)
    return _last_loss(trainer.state.log_history)


def _two_names(names: list[str], rng: np.random.Generator) -> list[str]:
    return [names[index] for index in rng.choice(len(names), size=2, replace=len(names) < 2)]


def _last_loss(history: list[dict[str, float]]) -> float:
    return round(next(entry["loss"] for entry in reversed(history) if "loss" in entry), 4)


def _places(picture: Picture, subject_name: str, object_name: str) -> str:
    """Write down where the boxes are and how far apart, in cells of the grid, and what hides what."""
    cells = np.rint(picture.boxes * GRID).astype(int)  # (2, 4), 0 to GRID
    places = [
        f"the {name} {top} to {bottom}, {left} to {right}"
        for name, (top, bottom, left, right) in zip((subject_name, object_name), cells, strict=True)
    ]
    edges = " ".join(f"{number:+d}" for number in cells[0] - cells[1])
    hides = (
        "",
        f"; the {subject_name} hides the {object_name}",
        f"; the {object_name} hides the {subject_name}",
    )[picture.front]
    return "; ".join(places) + f"; apart {edges}" + hides + "."
