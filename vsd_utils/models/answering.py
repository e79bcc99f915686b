"""Answers of a vision-language model to the three tasks, generated greedily, in batches, safely.

A batch is some pictures with all questions about each. The model reads a picture once (``shared_prefix.py``).

Prediction rows (``data/predictions/<system>.jsonl``): ``id`` (the triple's), ``img_id``, ``task``, ``subject``,
``object``, ``relation`` (gold), ``prompt`` (the question), ``raw`` (the generated text) and ``sentences``: the label
of task 1, the sentence of task 2, exactly three of task 3 (empty strings where the model wrote fewer). Where task 1 is
answered by likelihood, its rows have ``probabilities`` too, by relation, and ``raw`` is the likeliest relation.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from vsd_utils.common.resume import Row, batches_of, finish_batches
from vsd_utils.data.images import empty_canvas
from vsd_utils.data.photos import open_photo
from vsd_utils.data.prompts import TASKS, messages, question, sentences
from vsd_utils.data.samples import Sample
from vsd_utils.models import likelihood, shared_prefix

SENTENCES = {1: 1, 2: 1, 3: 3}  # in an answer, by task


class Settings(BaseModel):
    """Say how questions are asked: in batches of how many, with how many new tokens by task, after which system text.

    ``batch_size`` counts pictures, each with all its questions; in memory are keys and values for so many prompts.
    ``no_repeat_ngram_size`` is transformers': so many tokens in a row that stand in question or answer already are not
    written again; None is plain greedy decoding. A server's answers do not know it.
    ``task1`` is "generate" or "likelihood" (``likelihood.py``), which a server's answers do not know.
    ``system_prompt`` is a key of ``prompts.SYSTEM_PROMPTS``, the one that the conversations were made with.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_size: int = Field(ge=1)
    max_new_tokens: tuple[int, int, int]
    no_repeat_ngram_size: int | None = Field(default=None, ge=1)
    system_prompt: str
    task1: Literal["generate", "likelihood"]


def questions(samples: list[Sample]) -> list[Row]:
    """Make prediction rows without answers, task by task: task 1 for each triple, 2 and 3 for an image's first pair."""
    return [
        {
            "id": sample.triple_id(number),
            "img_id": sample.id,
            "task": task,
            "subject": pair.subject,
            "object": pair.object,
            "relation": pair.relation,
            "image": pair.image,
            "prompt": question(task, pair.subject, pair.object),
        }
        for task in TASKS
        for sample in samples
        for number, pair in enumerate(sample.triples)
        if task == 1 or number == 0
    ]


def answer(
    model: Any,
    processor: Any,
    asked: Sequence[Row],
    images: Path,
    unfinished: Path,
    settings: Settings,
    *,
    blank: bool = False,
) -> list[Row]:
    """Answer all rows of ``questions``, in their order; see the top for what a row gains.

    Their pictures lie in the folder ``images``; ``blank`` shows empty ones of the same size instead. Answers are kept
    in the file ``unfinished`` batch by batch, and what a killed run left there is not asked again
    (``resume.finish_batches``); the file is the caller's to remove.
    """
    # 1. Batches of pictures, and in each round of a batch one question about each picture.
    batches = batches_to_answer(asked, settings.batch_size)
    options = likelihood.options(processor) if settings.task1 == "likelihood" else {}

    # 2. Pictures and questions of a batch as tensors.
    def read(batch: Sequence[Row]) -> shared_prefix.Prompts:
        rounds = rounds_of(batch)
        pictures = [open_photo(images / row["image"]) for row in rounds[0]]
        if blank:
            pictures = [empty_canvas(picture.size) for picture in pictures]
        texts = [[render_prompt(processor, row["prompt"], settings.system_prompt) for row in rows] for rows in rounds]
        return shared_prefix.encode_rounds(processor, pictures, texts)

    def work(left: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
        for batch, prompts in zip(left, _ahead(read, left), strict=True):
            yield _answer_batch(model, processor, batch, prompts, settings, options)

    # 3. What a killed run has left undone, then everything in the order of the questions.
    answers = finish_batches(batches, work, unfinished, identity)
    return [answers[identity(row)] for row in asked]


def batches_to_answer(asked: Sequence[Row], size: int) -> list[Sequence[Row]]:
    """Cut questions into batches of at most ``size`` pictures, each with all its questions, round by round.

    The pictures of a batch are asked the same tasks, so that every one has a question in each round: those that all
    three tasks are about do not wait, their keys and values in memory, beside those with a question of task 1 alone.
    """
    by_picture: dict[str, list[Row]] = {}
    for row in sorted(asked, key=lambda row: TASKS.index(row["task"])):
        by_picture.setdefault(row["image"], []).append(row)
    by_tasks: dict[tuple[int, ...], list[list[Row]]] = {}
    for rows in by_picture.values():
        by_tasks.setdefault(tuple(row["task"] for row in rows), []).append(rows)
    cut = [alike[at : at + size] for alike in by_tasks.values() for at in range(0, len(alike), size)]
    return [[row for rows in zip(*pictures, strict=True) for row in rows] for pictures in cut]


def rounds_of(batch: Sequence[Row]) -> list[Sequence[Row]]:
    """Cut a batch of ``batches_to_answer`` into rounds of one task, each with one question about every picture."""
    return list(batches_of(batch, len({row["image"] for row in batch})))


def _ahead(read: Callable[[Sequence[Row]], Any], batches: Sequence[Sequence[Row]]) -> Iterator[Any]:
    """Yield what ``read`` makes of each batch; the next one is read on a thread while the caller has the last."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting = [pool.submit(read, batch) for batch in batches[:1]]
        for following in range(1, len(batches) + 1):
            inputs = waiting.pop().result()
            waiting = [pool.submit(read, batch) for batch in batches[following : following + 1]]
            yield inputs


def identity(row: Row) -> tuple[str, int]:
    """Tell questions apart: the triple's id and the task."""
    return row["id"], row["task"]


def _answer_batch(
    model: Any,
    processor: Any,
    batch: Sequence[Row],
    prompts: shared_prefix.Prompts,
    settings: Settings,
    options: likelihood.Options,
) -> list[Row]:
    """Answer the rounds of a batch; with ``options`` task 1 by likelihood. Keys and values are freed on return."""
    answered: list[Row] = []
    for rows, inputs in zip(rounds_of(batch), shared_prefix.ask_rounds(model, prompts), strict=True):
        task = rows[0]["task"]
        if options and task == 1:
            answered += map(_likeliest, rows, likelihood.probabilities(model, inputs, options))
        else:
            new_tokens = settings.max_new_tokens[task - 1]
            texts = complete(model, processor, inputs, new_tokens, settings.no_repeat_ngram_size)
            answered += map(_answered, rows, texts)
    return answered


def _answered(row: Row, text: str) -> Row:
    asked = {name: value for name, value in row.items() if name != "image"}
    return {**asked, "raw": text, "sentences": sentences(text, SENTENCES[row["task"]])}


def _likeliest(row: Row, probabilities: dict[str, float]) -> Row:
    return _answered(row, max(probabilities, key=probabilities.__getitem__)) | {"probabilities": probabilities}


def render_prompt(processor: Any, question: str, system_prompt: str) -> str:
    """Render the text before the answer, exactly as in training: one begin token, the image, the question."""
    text: str = processor.apply_chat_template(
        [
            {**message, "content": [{"type": "image"}, {"type": "text", "text": message["content"]}]}
            if message["role"] == "user"
            else message
            for message in messages(question, system_prompt)
        ],
        add_generation_prompt=True,
        tokenize=False,
    )
    return text


def generate(
    model: Any, processor: Any, images: list[Image.Image], asked: list[str], max_new_tokens: int, system_prompt: str
) -> list[str]:
    """Answer one question about each image, greedily; see ``encode`` and ``complete``."""
    return complete(model, processor, encode(processor, images, asked, system_prompt), max_new_tokens)


def encode(processor: Any, images: list[Image.Image], asked: list[str], system_prompt: str) -> Any:
    """Turn one question about each image into one batch of tensors on the CPU, padded on the left.

    ``input_ids`` and ``attention_mask`` (questions, tokens), the image's placeholder once for each of its features;
    ``pixel_values`` (questions, tiles, 3, side, side), the base view first; ``image_sizes`` (questions, 2), height and
    width in pixels.
    """
    return processor(
        images=images,
        text=[render_prompt(processor, text, system_prompt) for text in asked],
        add_special_tokens=False,  # the template writes the begin token
        padding=True,
        return_tensors="pt",
    )


def complete(
    model: Any, processor: Any, inputs: Any, max_new_tokens: int, no_repeat_ngram_size: int | None = None
) -> list[str]:
    """Answer a batch of ``encode`` or a round of ``ask_rounds`` greedily.

    End tokens and white space at the edges are stripped.
    """
    # 1. To the model's device; pixels, which alone are floating-point numbers, in its dtype.
    inputs = inputs.to(model.device, dtype=model.dtype)
    # 2. Token ids of question and answer (questions, tokens + new tokens), padded on the right after an answer's end.
    with torch.inference_mode():
        output = model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, no_repeat_ngram_size=no_repeat_ngram_size
        )
    # 3. The new ones alone, as text.
    new = output[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(new, skip_special_tokens=True)]
