"""The tiny base model's second and third schooling: it learns to speak, and then to speak of what the tower sees.

Two kinds of rows. *Hints*: one of the three tasks' questions with the relation given away in the prompt, drawn at
random and so unrelated to the picture: the language model learns the words and the forms of the answers, and to copy
names, first without pictures. *Places*: where the two boxes are, how far apart and which thing hides the other, in
numbers, never in relation words. Some questions stand without a hint, and the answer is a guess. Nothing teaches it to
read a relation off a picture; what it can do about that afterwards, LoRA has taught it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor

from vsd_utils.common.params import Tiny
from vsd_utils.data.annotations import RELATIONS
from vsd_utils.data.prompts import SENTENCE_BREAK, TASKS, messages, question
from vsd_utils.finetune.recipe import training_config
from vsd_utils.finetune.trainer import make_trainer
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


def texts(names: list[str]) -> Iterator[str]:
    """Every word of the rows, for the tokenizer to learn."""
    for number, name in enumerate(names):
        other = names[number - 1]
        for relation in RELATIONS:
            yield from (form.format(s=name, o=other, p=relation) for form in FORMS)
        yield from (question(task, name, other) for task in TASKS)
        yield PLACES.format(s=name, o=other)
    yield from (f" {number} {number:+d} {-number:+d}" for number in range(GRID + 1))


def hint_row(names: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """A question of a task, mostly with the relation given away; names and relation are drawn at random."""
    subject, object = _two(names, rng)
    task, relation = int(rng.choice(TASKS)), str(rng.choice(RELATIONS))
    said = [form.format(s=subject, o=object, p=relation) for form in FORMS]
    answer = {1: relation, 2: said[int(rng.integers(3))], 3: SENTENCE_BREAK.join((said[0], said[1], said[3]))}[task]
    asked = question(task, subject, object)
    if rng.random() >= GUESS_SHARE:
        asked += HINT.format(s=subject, o=object, p=relation)
    return {"prompt": messages(asked), "completion": [{"role": "assistant", "content": answer}]}


def place_row(picture: Picture, names: list[str], rng: np.random.Generator) -> dict[str, Any]:
    """Where the boxes of a picture are; the names are drawn at random and need not be what it shows."""
    subject, object = _two(names, rng)
    return {
        "prompt": messages(PLACES.format(s=subject, o=object)),
        "completion": [{"role": "assistant", "content": _places(picture, subject, object)}],
    }


def _two(names: list[str], rng: np.random.Generator) -> list[str]:
    return [names[index] for index in rng.choice(len(names), size=2, replace=len(names) < 2)]


def rows(pictures: Pictures, names: list[str], count: int, seed: int) -> Dataset:
    """``count`` rows, drawn when they are asked for."""
    numbers = Dataset.from_dict({"number": list(range(count))})

    def draw(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        made = []
        for number in batch["number"]:
            rng = np.random.default_rng((seed, number))
            picture = pictures[FIRST_PICTURE + number]
            row = place_row(picture, names, rng) if rng.random() < PLACE_SHARE else hint_row(names, rng)
            made.append({"images": [picture.image], **row})
        return {key: [one[key] for one in made] for key in made[0]}

    return numbers.with_transform(draw)


def teach_language(
    model: LlavaNextForConditionalGeneration,
    processor: LlavaNextProcessor,
    names: list[str],
    size: Tiny,
    folder: Path,
    seed: int,
) -> float:
    """Train the language model in place on hint rows without pictures, as Vicuna read before it saw; last loss."""
    processor.tokenizer.chat_template = processor.chat_template
    made = [hint_row(names, np.random.default_rng((seed, 1, number))) for number in range(size.language_rows)]
    training = training_config(
        folder,
        seed=seed,
        per_device_train_batch_size=size.language_batch,
        learning_rate=size.language_learning_rate,
        adam_beta2=0.95,
        **RECIPE,
    )
    trainer = make_trainer(model, processor.tokenizer, training, Dataset.from_list(made), name="language model")
    trainer.train()
    return _last_loss(trainer.state.log_history)


def align(
    model: LlavaNextForConditionalGeneration,
    processor: LlavaNextProcessor,
    pictures: Pictures,
    names: list[str],
    size: Tiny,
    folder: Path,
    seed: int,
) -> float:
    """Train projector and language model in place, the tower frozen; returns the last logged loss."""
    model.model.vision_tower.requires_grad_(False)
    training = training_config(
        folder,
        seed=seed,
        per_device_train_batch_size=size.align_batch,
        learning_rate=size.align_learning_rate,
        dataloader_num_workers=1,  # it draws the pictures while this process trains; the order stays the same
        **RECIPE,
    )
    drawn = rows(pictures, names, size.align_rows, seed)
    trainer = make_trainer(model, processor, training, drawn, name="alignment")
    trainer.train()
    model.requires_grad_(True)
    return _last_loss(trainer.state.log_history)


def _last_loss(history: list[dict[str, float]]) -> float:
    return round(next(entry["loss"] for entry in reversed(history) if "loss" in entry), 4)


def _places(picture: Picture, subject: str, object: str) -> str:
    cells = np.rint(picture.boxes * GRID).astype(int)
    told = [
        f"the {name} {top} to {bottom}, {left} to {right}"
        for name, (top, bottom, left, right) in zip((subject, object), cells, strict=True)
    ]
    edges = " ".join(f"{number:+d}" for number in cells[0] - cells[1])
    hides = ("", f"; the {subject} hides the {object}", f"; the {object} hides the {subject}")[picture.front]
    return "; ".join(told) + f"; apart {edges}" + hides + "."
