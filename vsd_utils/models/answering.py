"""Answers of a vision-language model to the three tasks, generated greedily, in batches, safely.

Prediction rows (``data/predictions/<system>.jsonl``): ``id`` (the triple's), ``img_id``, ``task``, ``subject``,
``object``, ``relation`` (gold), ``prompt`` (the question), ``raw`` (the generated text) and ``sentences``: the label
of task 1, the sentence of task 2, exactly three of task 3 (empty strings where the model wrote fewer).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from vsd_utils.common.files import append_jsonl, mend_jsonl, write_jsonl
from vsd_utils.common.progress import steps
from vsd_utils.data.images import empty_canvas
from vsd_utils.data.photos import open_photo
from vsd_utils.data.prompts import TASKS, messages, question, sentences
from vsd_utils.data.samples import Sample

Work = TypeVar("Work")
COUNTS = {1: 1, 2: 1, 3: 3}  # sentences of an answer, by task


def questions(samples: list[Sample]) -> list[dict[str, Any]]:
    """Prediction rows without answers, task by task: task 1 for each triple, 2 and 3 for each image's first pair."""
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
    asked: list[dict[str, Any]],
    folder: Path,
    unfinished: Path,
    finished: Path,
    *,
    batch_size: int,
    max_new_tokens: tuple[int, int, int],
    system_prompt: str,
    blank: bool = False,
    name: str = "answers",
) -> list[dict[str, Any]]:
    """Answer all rows of ``questions``; images lie in ``folder``, or are ``blank`` ones of the same size.

    Rows are appended to ``unfinished`` batch by batch; what a killed run left there is kept. A batch of which only a
    part is there is asked again as a whole, since an answer may depend on what else is in its batch. At the end the
    rows are written to ``finished`` in the questions' order; ``unfinished`` is the caller's to remove.
    """
    done = {(row["id"], row["task"]): row for row in mend_jsonl(unfinished)}
    batches = list(_batches(asked, batch_size))
    left = [batch for batch in batches if any((row["id"], row["task"]) not in done for row in batch)]

    def read(batch: list[dict[str, Any]]) -> Any:
        images = [open_photo(folder / row["image"]) for row in batch]
        if blank:
            images = [empty_canvas(image.size) for image in images]
        return encode(processor, images, [row["prompt"] for row in batch], system_prompt)

    for batch, inputs in steps(_ahead(read, left), name, len(batches), len(batches) - len(left)):
        texts = complete(model, processor, inputs, max_new_tokens[batch[0]["task"] - 1])
        answers = (_answered(row, text) for row, text in zip(batch, texts, strict=True))
        rows = [row for row in answers if (row["id"], row["task"]) not in done]
        append_jsonl(unfinished, rows)
        done |= {(row["id"], row["task"]): row for row in rows}
    answered = [done[row["id"], row["task"]] for row in asked]
    write_jsonl(finished, answered)
    return answered


def render_prompt(processor: Any, question: str, system_prompt: str) -> str:
    """The text before the answer, exactly as training renders it: one begin token, the image, the question."""
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
    """Greedy answers to one question about each image; see ``encode`` and ``complete``."""
    return complete(model, processor, encode(processor, images, asked, system_prompt), max_new_tokens)


def encode(processor: Any, images: list[Image.Image], asked: list[str], system_prompt: str) -> Any:
    """One question about each image as one left-padded batch of tensors, on the CPU."""
    return processor(
        images=images,
        text=[render_prompt(processor, text, system_prompt) for text in asked],
        add_special_tokens=False,  # the template writes the begin token
        padding=True,
        return_tensors="pt",
    )


def complete(model: Any, processor: Any, inputs: Any, max_new_tokens: int) -> list[str]:
    """Greedy answers to a batch of ``encode``; end tokens and white space at the edges are stripped."""
    inputs = inputs.to(model.device, dtype=model.dtype)
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    texts = processor.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return [text.strip() for text in texts]


def _answered(row: dict[str, Any], text: str) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key != "image"}
    return {**kept, "raw": text, "sentences": sentences(text, COUNTS[row["task"]])}


def _ahead(read: Callable[[Work], Any], works: Iterable[Work]) -> Iterator[tuple[Work, Any]]:
    """Each of ``works`` with what ``read`` makes of it; the next one is read while the caller works on the last."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        last = None
        for work in works:
            following = work, pool.submit(read, work)
            if last:
                yield last[0], last[1].result()
            last = following
        if last:
            yield last[0], last[1].result()


def _batches(rows: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    for task in TASKS:
        of_task = [row for row in rows if row["task"] == task]
        for start in range(0, len(of_task), size):
            yield of_task[start : start + size]
