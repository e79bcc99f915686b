"""Time training with finetune.packing=shared_image against TRL, on the same pictures and conversations.

    python benchmarks/packing/train.py --output benchmarks/packing/train.json               # a CPU, some 15 minutes
    python benchmarks/packing/train.py --full --output benchmarks/packing/train_full.json   # one GPU of 80 GB

Three sides take turns in rounds, each with a new model and TRL's SFTTrainer: packs of whole pictures; TRL as shipped
(activations recomputed, no workers, batches of 4); and TRL tuned (nothing recomputed where that fits, workers, the
batch that is fastest in a short trial). See README.md.
"""

import argparse
import ctypes
import json
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any, NamedTuple

import psutil
import torch
from datasets import Dataset
from model import Built, build, describe, environment, free, now
from rows import TOKENS, draw_packs, pictures_in, repack, rows_of, text_tokenizer
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from vsd_utils.finetune.dataset import image_rows, spread
from vsd_utils.finetune.packing.attention import use_shared_image_attention
from vsd_utils.finetune.packing.collator import SharedImageCollator
from vsd_utils.finetune.packing.rows import Pack, pack_rows
from vsd_utils.finetune.recipe import lora_config

SHIPPED_BATCH = 4  # conversations: what the paper's profile had before packing
PACKED, SHIPPED, TUNED = "packed", "TRL as shipped", "TRL tuned"


class Side(NamedTuple):
    """Say how one side trains; ``batch`` is in conversations, for packs the most that one holds."""

    packed: bool
    batch: int
    recomputed: bool
    workers: int


class Work(NamedTuple):
    """Hold what a side trains on in a round: the same pictures for all sides, ``warm_up`` packs of them not timed."""

    packs: list[Pack]
    warm_up: int


class Setup(NamedTuple):
    """Hold what all sides have in common."""

    built: Built
    folder: Path
    rank: int
    seed: int


class Step(NamedTuple):
    """Hold what one timed micro-batch took: conversations, seconds, and GB above what lay there before it."""

    conversations: int
    seconds: float
    memory: float


class Meter(TrainerCallback):
    """Notes when each step ends, and the most memory that it took above model and optimizer."""

    def __init__(self, trims: bool) -> None:
        """Start with no step; ``trims``: give freed memory back after each, as a CPU's memory has to be to be seen."""
        self.ends: list[float] = []
        self.memory: list[float] = []
        self._trims = trims and sys.platform == "linux"
        self._process = psutil.Process()
        self._over = threading.Event()
        self._at_rest = self._peak = 0.0

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Begin to watch; of a GPU torch keeps the peak itself."""
        self._rest()
        if not torch.cuda.is_available():
            threading.Thread(target=self._watch, daemon=True).start()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time and the step's peak."""
        self.ends.append(now())
        peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else self._peak
        self.memory.append((peak - self._at_rest) / 1e9)
        self._rest()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Watch no longer."""
        self._over.set()

    def _rest(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            self._at_rest = float(torch.cuda.memory_allocated())
        else:
            if self._trims:
                ctypes.CDLL(None).malloc_trim(0)
            self._at_rest = self._peak = float(self._process.memory_info().rss)

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self._peak = max(self._peak, float(self._process.memory_info().rss))


def training(side: Side, setup: Setup, steps: int) -> SFTConfig:
    """Configure TRL: its defaults, but for what a side sets and for what would cut off pictures or write files."""
    cuda = torch.cuda.is_available()
    return SFTConfig(
        str(setup.folder / "work"),
        max_steps=steps,
        per_device_train_batch_size=1 if side.packed else side.batch,
        gradient_checkpointing=side.recomputed,
        dataloader_num_workers=side.workers,
        dataloader_pin_memory=cuda,
        use_cpu=not cuda,
        bf16=cuda,
        max_length=None,
        remove_unused_columns=False,
        train_sampling_strategy="sequential",
        seed=setup.seed,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def run(side: Side, work: Work, setup: Setup, trims: bool = False) -> list[Step]:
    """Train a new model on ``work`` and return the timed micro-batches."""
    data, held, warm_up = rows_for(side, work, setup)
    model = setup.built.model()
    if side.packed:
        use_shared_image_attention(model)
    trainer = SFTTrainer(
        model,
        training(side, setup, len(held)),
        train_dataset=data,
        data_collator=SharedImageCollator(setup.built.processor) if side.packed else None,
        processing_class=setup.built.processor,
        peft_config=lora_config(r=setup.rank, lora_alpha=2 * setup.rank, lora_dropout=0.05),
    )
    trainer.remove_callback(PrinterCallback)
    meter = Meter(trims)
    trainer.add_callback(meter)
    trainer.train()
    del trainer, model
    free()
    took = [later - earlier for earlier, later in zip(meter.ends, meter.ends[1:], strict=False)]
    return list(map(Step, held[1:], took, meter.memory[1:]))[warm_up - 1 :]


def rows_for(side: Side, work: Work, setup: Setup) -> tuple[Dataset, list[int], int]:
    """Make a side's rows; with how many conversations are in each micro-batch, and how many of these are warm-up."""
    if not side.packed:
        rows = separate_rows(work, side.batch)
        return image_rows(rows, setup.folder), [side.batch] * (len(rows) // side.batch), work.warm_up
    first = repack(work.packs[: work.warm_up], side.batch, setup.seed)
    packs = first + repack(work.packs[work.warm_up :], side.batch, setup.seed)
    return pack_rows(packs, setup.folder), [len(rows_of([one])) for one in packs], len(first)


def separate_rows(work: Work, batch: int) -> list[dict[str, Any]]:
    """Choose, evenly spread over the packs, a batch of their conversations for each of them."""
    first, timed = rows_of(work.packs[: work.warm_up]), rows_of(work.packs[work.warm_up :])
    return spread(first, work.warm_up * batch) + spread(timed, (len(work.packs) - work.warm_up) * batch)


def fastest(sides: Sequence[Side], work: Work, setup: Setup) -> tuple[Side, dict[str, Any]]:
    """Try sides shortly, on the packs with the most pictures; returns the fastest, and what was found."""
    found: dict[str, Any] = {}
    speeds: dict[Side, float] = {}
    for side in sides:
        try:
            speeds[side] = speed(run(side, work, setup))
        except torch.cuda.OutOfMemoryError:
            free()
        found[f"batch {side.batch}, {'recomputed' if side.recomputed else 'kept'}"] = speeds.get(side, "does not fit")
    return max(speeds, key=speeds.__getitem__), found


def speed(steps: Sequence[Step]) -> float:
    """Count the conversations a second over micro-batches."""
    return sum(step.conversations for step in steps) / sum(step.seconds for step in steps)


def summary(side: Side, rounds: Sequence[Sequence[Step]]) -> dict[str, Any]:
    """Describe a side: how it trained, its speed in all and by round, and what a micro-batch took."""
    steps = [step for one in rounds for step in one]
    rates = [step.conversations / step.seconds for step in steps]
    return {
        **side._asdict(),
        "micro-batches": len(steps),
        "conversations in a micro-batch": mean(step.conversations for step in steps),
        "examples a second": speed(steps),
        "examples a second, by round": [speed(one) for one in rounds],
        "examples a second, quartiles of micro-batches": quantiles(rates),
        "seconds of a micro-batch, median": median(step.seconds for step in steps),
    }


def memory(steps: Sequence[Step]) -> float:
    """Give the memory above model and optimizer that a conversation takes, in GB."""
    return sum(step.memory for step in steps) / sum(step.conversations for step in steps)


def tokens(packs: list[Pack], rows: list[dict[str, Any]], setup: Setup) -> dict[str, float]:
    """Count the tokens of a conversation as TRL's collator makes them of ``rows``, and in ``packs``."""
    alone = DataCollatorForVisionLanguageModeling(setup.built.processor)
    separate = mean(int(alone([row])["attention_mask"].sum()) for row in image_rows(rows, setup.folder))
    collate = SharedImageCollator(setup.built.processor)
    together = sum(collate([one])["input_ids"].shape[1] for one in pack_rows(packs, setup.folder))
    packed = together / len(rows_of(packs))
    return {"separate": separate, "packed": packed, "ratio": separate / packed}


def measure(given: argparse.Namespace, setup: Setup) -> dict[str, Any]:
    """Choose the sides by short trials, let them take turns, and compare."""
    # 1. The packs of all rounds, and those of the trials: as many pictures in a pack as there are in any.
    each = given.warm_up + -(-given.steps // given.rounds)
    packs = draw_packs(given.rounds * each, given.conversations, setup.seed, setup.folder)
    hardest = Work(sorted(packs, key=len, reverse=True)[:3], warm_up=1)
    # 2. The sides.
    batches = [given.batch] if given.batch else [1, 2, 4, 8]
    tuned = [Side(False, batch, recomputed, given.workers) for batch in batches for recomputed in choices(given)]
    sizes = [given.conversations, 6] if given.full else [given.conversations, 8]
    packed = [Side(True, size, recomputed, given.workers) for size in sizes for recomputed in choices(given)]
    sides = {} if given.tuned_only else {SHIPPED: Side(False, SHIPPED_BATCH, True, 0)}
    sides[TUNED], tried = fastest(tuned, hardest, setup) if len(tuned) > 1 else (tuned[0], {})
    sides[PACKED], packed_tried = fastest(packed, hardest, setup) if len(packed) > 1 else (packed[0], {})
    # 3. In turns.
    took: dict[str, list[list[Step]]] = {name: [] for name in sides}
    works = [Work(packs[start : start + each], given.warm_up) for start in range(0, len(packs), each)]
    for number, work in enumerate(works):
        for name, side in sides.items():
            took[name].append(run(side, work, setup))
            print(f"round {number + 1}, {name}: {speed(took[name][-1]):.3f} examples a second", flush=True)
    return {"trials": {TUNED: tried, PACKED: packed_tried}} | compare(sides, took, works, setup)


def choices(given: argparse.Namespace) -> list[bool]:
    """Say whether recomputing is tried too: where all activations may not fit, on a GPU."""
    return [False, True] if given.full else [False]


def compare(
    sides: dict[str, Side], took: dict[str, list[list[Step]]], works: Sequence[Work], setup: Setup
) -> dict[str, Any]:
    """Put the sides beside each other, and beside the ratio of their tokens."""
    timed = [one for work in works for one in work.packs[work.warm_up :]]
    batch = sides[TUNED].batch
    chosen = [row for work in works for row in separate_rows(work, batch)[work.warm_up * batch :]]
    counted = tokens(repack(timed, sides[PACKED].batch, setup.seed), chosen, setup)
    held = {name: activations(side, took[name], works[0], setup) for name, side in sides.items()}
    return {
        "conversations": len(rows_of(timed)),
        "pictures": pictures_in(timed),
        "pictures in a pack": mean(map(len, timed)),
        "tokens of a conversation": counted,
        "model": describe(setup.built, counted["separate"], setup.rank),
        "sides": {
            name: summary(side, took[name]) | {"activation memory, GB a conversation": held[name]}
            for name, side in sides.items()
        },
        "ratios": {
            f"packed / {other}": {
                **ratio(took[PACKED], took[other], counted["ratio"]),
                # Only where both keep, or both recompute, their activations.
                "activation memory": held[PACKED] / held[other]
                if sides[other].recomputed == sides[PACKED].recomputed
                else None,
            }
            for other in sides.keys() - {PACKED}
        },
    }


def activations(side: Side, rounds: Sequence[Sequence[Step]], work: Work, setup: Setup) -> float:
    """Measure the memory that a conversation takes: a GPU's is known, a CPU's seen in a few steps of their own."""
    if torch.cuda.is_available():
        return memory([step for one in rounds for step in one])
    return memory(run(side, Work(work.packs[:4], warm_up=1), setup, trims=True))


def ratio(ours: Sequence[Sequence[Step]], theirs: Sequence[Sequence[Step]], of_tokens: float) -> dict[str, Any]:
    """Compare the speeds of two sides, in all and round by round, and with the ratio of their tokens."""
    in_all = speed([step for one in ours for step in one]) / speed([step for one in theirs for step in one])
    by_round = [speed(mine) / speed(other) for mine, other in zip(ours, theirs, strict=True)]
    return {"ratio": in_all, "by round": by_round, "share of the token ratio": in_all / of_tokens}


def show(record: dict[str, Any]) -> None:
    """Print the table of README.md."""
    print(f"\n| {'':14} | examples/s | by round | GB a conversation | packed is | of the token ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, side in record["sides"].items():
        ratio = record["ratios"].get(f"packed / {name}")
        said = f"{ratio['ratio']:.2f}x | {ratio['share of the token ratio']:.0%}" if ratio else " | "
        rounds = ", ".join(f"{rate:.2f}" for rate in side["examples a second, by round"])
        gb = side["activation memory, GB a conversation"]
        print(f"| {name:14} | {side['examples a second']:.3f} | {rounds} | {gb:.3f} | {said} |")
    print(f"token ratio {record['tokens of a conversation']['ratio']:.2f}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=30, help="timed micro-batches of each side, over all rounds")
    parser.add_argument("--rounds", type=int, default=3, help="how often the sides take turns")
    parser.add_argument("--warm-up", type=int, default=2, help="micro-batches before the timed ones, in each round")
    parser.add_argument("--conversations", type=int, default=16, help="the most in a pack")
    parser.add_argument("--batch", type=int, help="of TRL tuned; without: the fastest of 1, 2, 4 and 8")
    parser.add_argument("--tuned-only", action="store_true", help="without TRL as shipped, which takes longest")
    parser.add_argument("--workers", type=int, help="of packed and tuned; without: 1 on a CPU, 8 on a GPU")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--rank", type=int, help="without: 128 in full, else the same share of the width")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full", action="store_true", help="the 13B model in bfloat16, on a GPU")
    return parser.parse_args()


def main() -> None:
    """Measure, and write the record."""
    given = arguments()
    if given.full and not torch.cuda.is_available():
        print("not run: --full needs a GPU")
        return
    given.workers = given.workers if given.workers is not None else 8 if torch.cuda.is_available() else 1
    rank = given.rank or (128 if given.full else max(1, round(128 / 5120 * given.width)))
    with tempfile.TemporaryDirectory() as folder:
        built = build(given.width, given.layers, given.full, text_tokenizer())
        setup = Setup(built, Path(folder), rank, given.seed)
        record = {**environment(), "vocabulary": TOKENS, "seed": given.seed, **measure(given, setup)}
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    show(record)


if __name__ == "__main__":
    main()
