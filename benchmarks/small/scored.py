"""Measure what it costs to multiply by SmolLM2's output layer at every token, instead of where the loss is.

    python benchmarks/small/scored.py

Both ways of TRL's own loss in one run, in turn: a step of LoRA training on four rows of 220 tokens, 170 of them in no
loss. Prints tokens a second of each and writes ``scored.json`` beside this file.
"""

import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from pretrained import language_model
from trl.trainer import utils

from vsd_utils.common.files import write_json

ROWS, TOKENS, IN_LOSS, ROUNDS = 4, 220, 50, 3


def main() -> None:
    """Measure both ways, a few rounds each."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    base = language_model()
    utils.add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    model = get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=r".*_proj"))
    ids = torch.randint(0, 40_000, (ROWS, TOKENS))
    labels = ids.clone()
    labels[:, IN_LOSS:] = -100
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for number in range(1 + ROUNDS):  # the first round warms up
        for answers_only, found in speeds.items():
            utils._use_triton = lambda device, only=answers_only: only
            start = time.perf_counter()
            model(input_ids=ids, labels=labels, fused_lm_head=True).loss.backward()
            if number:
                found.append(ROWS * TOKENS / (time.perf_counter() - start))
    record = {
        "tokens_per_second": {
            "where the loss is": [round(speed) for speed in speeds[True]],
            "everywhere": [round(speed) for speed in speeds[False]],
        },
        "ratio": round(sorted(speeds[True])[ROUNDS // 2] / sorted(speeds[False])[ROUNDS // 2], 2),
    }
    print(record)
    write_json(Path(__file__).with_suffix(".json"), record)


if __name__ == "__main__":
    main()
