"""Measure what ``float32_matmul_precision`` is worth on this processor: a LoRA step of SmolLM2-135M, two threads.

    python benchmarks/small/precision.py
    ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 python benchmarks/small/precision.py

The second line is the same processor without its AVX-512. All ways in one run, in turn: a forward and backward pass
over 1 row of 270 tokens, as many as four conversations of profile ``boxes`` with their picture. Prints the seconds of
each and how far the gradient is from that of "highest", and writes them into ``precision.json`` beside this file,
under the processor and what it was let use.
"""

import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from pretrained import language_model

from vsd_utils.common.files import read_json, write_json
from vsd_utils.common.values import MatmulPrecision
from vsd_utils.models.loading import set_up_torch

TOKENS, ROUNDS = 270, 9
WAYS: tuple[MatmulPrecision, ...] = ("highest", "medium")


def main() -> None:
    """Measure both ways, some rounds each."""
    torch.manual_seed(0)
    base = language_model()
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=r".*_proj", init_lora_weights=False)
    model = get_peft_model(base, lora)
    ids = torch.randint(0, 40_000, (1, TOKENS))
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    gradients: dict[str, torch.Tensor] = {}
    for number in range(1 + ROUNDS):  # the first round warms up
        for way in WAYS:
            set_up_torch(2, way)
            model.zero_grad()
            start = time.perf_counter()
            model(input_ids=ids, labels=ids).loss.backward()
            if number:
                seconds[way].append(time.perf_counter() - start)
            gradients[way] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    middle = {way: sorted(found)[ROUNDS // 2] for way, found in seconds.items()}
    highest, medium = (gradients[way] for way in WAYS)
    found = {
        "seconds": {way: round(value, 3) for way, value in middle.items()},
        "ratio": round(middle["highest"] / middle["medium"], 2),
        "gradient differs by": float(f"{(medium - highest).norm() / highest.norm():.1e}"),
    }
    target = Path(__file__).with_suffix(".json")
    record = read_json(target) if target.is_file() else {}
    record[f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}"] = found
    print(found)
    write_json(target, record)


def _processor() -> str:
    """Name the processor as Linux does."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return f"{found['model name']}, family {found['cpu family']} model {found['model']}"


if __name__ == "__main__":
    main()
