"""Time answers to the three tasks: a picture read once for its questions, against model.generate alone.

    python benchmarks/packing/generate.py --output benchmarks/packing/generate.json               # a CPU, minutes
    python benchmarks/packing/generate.py --full --output benchmarks/packing/generate_full.json   # one GPU of 80 GB

The sides, in turns, on the same pictures and questions: vsd_utils.models.answering; batches of questions of one task,
each with its picture, through the processor and model.generate; and the same one question at a time. The first two take
the faster of two batch sizes. All write as many new tokens to each question. See README.md.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import torch
from model import build, describe, environment, now
from rows import SIZES, SYSTEM_PROMPT, draw, sample_of, text_tokenizer

from vsd_utils.data.photos import open_photo
from vsd_utils.data.prompts import TASKS
from vsd_utils.models import answering

SHARED, BATCHED, LOOP = "shared prefill", "batched model.generate", "one question at a time"


class World(NamedTuple):
    """Hold a model that never ends an answer by itself, its processor, and questions about pictures in a folder."""

    model: Any
    processor: Any
    asked: list[dict[str, Any]]
    folder: Path
    limits: tuple[int, int, int]


def world(given: argparse.Namespace, folder: Path) -> tuple[World, dict[str, Any]]:
    """Make everything; also what is to be recorded of the model."""
    built = build(given.width, given.layers, given.full, text_tokenizer())
    model = built.model().eval()
    with torch.no_grad():  # its logit is 0, and of several hundred others one is always larger
        model.lm_head.weight[built.processor.tokenizer.eos_token_id] = 0
    sizes = random.Random(given.seed).choices(list(SIZES), list(SIZES.values()), k=given.pictures)
    for number, size in enumerate(sizes):
        draw(number, size, folder)
    asked = answering.questions([sample_of(number, size) for number, size in enumerate(sizes)])
    made = World(model, built.processor, asked, folder, tuple(given.new_tokens))
    tokens = mean(int(encode(made, [row])["attention_mask"].sum()) for row in asked[:: len(TASKS)])
    return made, {"tokens of a question": tokens, "model": describe(built, tokens, rank=0)}


def shared(given: World, pictures: int) -> None:
    """Answer as stage describe does, ``pictures`` at a time."""
    settings = answering.Settings(
        batch_size=pictures, max_new_tokens=given.limits, system_prompt=SYSTEM_PROMPT, task1="generate"
    )
    with tempfile.TemporaryDirectory() as folder:
        unfinished = Path(folder) / "answers.jsonl"
        rows = answering.answer(given.model, given.processor, given.asked, given.folder, unfinished, settings)
    assert len(rows) == len(given.asked)


def plain(given: World, batch: int) -> None:
    """Answer task by task in batches of ``batch`` questions, with the processor and model.generate alone."""
    for task in TASKS:
        of_task = [row for row in given.asked if row["task"] == task]
        new = given.limits[task - 1]
        for start in range(0, len(of_task), batch):
            inputs = encode(given, of_task[start : start + batch]).to(given.model.device, dtype=given.model.dtype)
            with torch.inference_mode():
                written = given.model.generate(**inputs, max_new_tokens=new, do_sample=False)
            assert written.shape[1] == inputs["input_ids"].shape[1] + new, "an answer ended by itself"


def encode(given: World, rows: Sequence[dict[str, Any]]) -> Any:
    """Turn questions, each with its picture, into tensors."""
    return given.processor(
        images=[open_photo(given.folder / row["image"]) for row in rows],
        text=[answering.render_prompt(given.processor, row["prompt"], SYSTEM_PROMPT) for row in rows],
        add_special_tokens=False,
        padding=True,
        return_tensors="pt",
    )


def seconds(work: Callable[[], None]) -> float:
    """Time ``work``."""
    start = now()
    work()
    return now() - start


def fastest(side: Callable[[World, int], None], made: World, sizes: Sequence[int]) -> tuple[int, dict[int, float]]:
    """Try batch sizes of a side once each; returns the fastest one, and the seconds of all."""
    side(made._replace(asked=made.asked[:: len(made.asked) // 2]), 1)  # not timed
    tried = {size: seconds(partial(side, made, size)) for size in sizes}
    return min(tried, key=tried.__getitem__), tried


def measure(made: World, given: argparse.Namespace) -> dict[str, Any]:
    """Choose each side's batch by one try of each, let the sides take turns, and compare."""
    together, tried_shared = fastest(shared, made, [1, given.batch])
    batch, tried = fastest(plain, made, [given.batch, len(TASKS) * given.batch])
    sides = {
        SHARED: partial(shared, made, together),
        BATCHED: partial(plain, made, batch),
        LOOP: partial(plain, made, 1),
    }
    took: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(given.rounds):
        for name, work in sides.items():
            took[name].append(seconds(work))
            print(f"round {number + 1}, {name}: {len(made.asked) / took[name][-1]:.2f} answers a second", flush=True)
    return {
        "questions": len(made.asked),
        "new tokens by task": made.limits,
        "batch": {SHARED: together, BATCHED: batch},
        "seconds of the trials, by batch": {SHARED: tried_shared, BATCHED: tried},
    } | compare(len(made.asked), took)


def compare(questions: int, took: dict[str, list[float]]) -> dict[str, Any]:
    """Put the sides beside each other: answers a second, and the median over rounds of the ratios."""
    return {
        "seconds by round": took,
        "answers a second": {name: questions / median(each) for name, each in took.items()},
        "shared prefill is so many times as fast": {
            name: median(theirs / ours for theirs, ours in zip(took[name], took[SHARED], strict=True))
            for name in (BATCHED, LOOP)
        },
    }


def show(record: dict[str, Any]) -> None:
    """Print the table of README.md."""
    print("\n| side | answers/s | shared prefill is |\n| --- | --- | --- |")
    for name, rate in record["answers a second"].items():
        ratio = record["shared prefill is so many times as fast"].get(name)
        print(f"| {name} | {rate:.2f} | {f'{ratio:.2f}x' if ratio else ''} |")


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument(
        "--batch",
        type=int,
        default=4,
        help="pictures, or questions, in a batch: the larger size for the first side, the smaller for the second",
    )
    parser.add_argument("--rounds", type=int, default=3)
    # 25 on average, and in the proportion of the paper's profile's limits, 12, 40 and 120.
    parser.add_argument("--new-tokens", type=int, nargs=3, default=[3, 11, 33], help="by task")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="the 13B model in bfloat16, on a GPU")
    given = parser.parse_args()
    if given.full and not torch.cuda.is_available():
        print("not run: --full needs a GPU")
        return
    with tempfile.TemporaryDirectory() as folder:
        made, described = world(given, Path(folder))
        record = {**environment(), "seed": given.seed, **described, **measure(made, given)}
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    show(record)


if __name__ == "__main__":
    main()
