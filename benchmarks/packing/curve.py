"""How much faster one picture with k conversations trains when it is read once: measured over k, beside the formula.

    python benchmarks/packing/curve.py measure --output benchmarks/packing/curve.json     # about 5 minutes on two cores
    python benchmarks/packing/curve.py draw --record benchmarks/packing/curve.json --figure docs/packing.png

Forward and backward through a language model of random weights (width 768, two layers), its inputs as long as those of
a 4:3 photo of the paper: a prefix of 2,375 tokens and branches of 70. Separate examples are passes of one example each.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from transformers import LlamaConfig, LlamaModel

from vsd_utils.finetune.packing.attention import NAME, branch_mask

PREFIX, BRANCH = 2_375, 70  # tokens: template and a 4:3 photo; question and answer
COUNTS = (1, 2, 3, 4, 6, 8, 12)
ROUNDS = 5


def main() -> None:
    """Measure or draw, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True)
    measuring = actions.add_parser("measure")
    measuring.add_argument("--output", type=Path, required=True)
    measuring.set_defaults(run=lambda given: given.output.write_text(json.dumps(measure(), indent=1) + "\n"))
    drawing = actions.add_parser("draw")
    drawing.add_argument("--record", type=Path, required=True)
    drawing.add_argument("--figure", type=Path, required=True)
    drawing.set_defaults(run=lambda given: draw(json.loads(given.record.read_text()), given.figure))
    given = parser.parse_args()
    given.run(given)


def measure() -> dict[str, Any]:
    """Time both sides for each number of conversations, in turn, so that both meet the same machine."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=768, intermediate_size=2_048, num_hidden_layers=2, num_attention_heads=12, vocab_size=8
    )
    model = LlamaModel(config).requires_grad_(False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    found = []
    for count in COUNTS:
        sides: tuple[Callable[[], None], Callable[[], None]] = (
            lambda: _separate(model),
            lambda k=count: _packed(model, k),
        )
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(ROUNDS + 1):  # the first is a warm-up
            for side, of_side in zip(sides, times, strict=True):
                of_side.append(_timed(side))
        separate, packed = (statistics.median(of_side[1:]) for of_side in times)
        found.append({"conversations": count, "separate": count * separate, "packed": packed})
        print(f"{count:>3} conversations: {count * separate / packed:.2f} times, tokens {tokens_ratio(count):.2f}")
    return {"device": device, "torch": torch.__version__, "prefix": PREFIX, "branch": BRANCH, "seconds": found}


def tokens_ratio(count: int) -> float:
    """Divide the tokens of separate examples by those of one packed row."""
    return count * (PREFIX + BRANCH) / (PREFIX + count * BRANCH)


def _separate(model: Any) -> None:
    model.set_attn_implementation("sdpa")
    _pass(model, PREFIX + BRANCH, torch.arange(PREFIX + BRANCH))


def _packed(model: Any, count: int) -> None:
    model.set_attn_implementation(NAME)
    positions = torch.cat([torch.arange(PREFIX), torch.arange(PREFIX, PREFIX + BRANCH).repeat(count)])
    mask = branch_mask(PREFIX, [BRANCH] * count).to(model.device)
    _pass(model, len(positions), positions, branch_masks=(mask,))


def _pass(model: Any, tokens: int, positions: torch.Tensor, **packing: Any) -> None:
    inputs = torch.randn(1, tokens, model.config.hidden_size, device=model.device, dtype=model.dtype)
    seen = torch.ones(1, tokens, dtype=torch.long, device=model.device)
    placed = positions[None].to(model.device)
    made = model(
        inputs_embeds=inputs.requires_grad_(), attention_mask=seen, position_ids=placed, use_cache=False, **packing
    )
    made.last_hidden_state.sum().backward()


def _timed(side: Callable[[], None]) -> float:
    start = time.perf_counter()
    side()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw who sees whom in a packed row, and the measured speed-up over k beside the ratio of tokens."""
    figure, (seen, curve) = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
    _draw_mask(seen)
    counts = [row["conversations"] for row in record["seconds"]]
    every = range(1, max(counts) + 1)
    curve.plot(every, [tokens_ratio(count) for count in every], color="0.6", label="tokens: k (P + S) / (P + k S)")
    measured = [row["separate"] / row["packed"] for row in record["seconds"]]
    curve.plot(counts, measured, "o", color="C0", label=f"measured, {record['device'].upper()}")
    curve.set(
        xlabel="k, conversations about a picture",
        ylabel="times faster than separate examples",
        ylim=0,
        title=f"Training, P = {record['prefix']:,}, S = {record['branch']}",
    )
    curve.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _draw_mask(axis: Any, prefix: int = 14, branches: tuple[int, ...] = (4, 5, 3)) -> None:
    tokens = prefix + sum(branches)
    seen = torch.zeros(tokens, tokens)
    seen[:prefix, :prefix] = torch.ones(prefix, prefix).tril()
    seen[prefix:] = branch_mask(prefix, branches).float() * 2
    axis.imshow(seen, cmap=plt.matplotlib.colors.ListedColormap(["white", "#9bb8d3", "#e0a458"]))
    starts = [0, prefix, *(prefix + sum(branches[: n + 1]) for n in range(len(branches) - 1))]
    names = ["system prompt\nand image", *(f"branch\n{n + 1}" for n in range(len(branches)))]
    ends = [*starts[1:], tokens]
    axis.set_xticks([(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)], names, fontsize=8)
    axis.set_yticks([(a + b - 1) / 2 for a, b in zip(starts, ends, strict=True)], names, fontsize=8)
    for edge in starts[1:]:
        axis.axhline(edge - 0.5, color="0.4", lw=0.6)
        axis.axvline(edge - 0.5, color="0.4", lw=0.6)
    axis.tick_params(length=0)
    axis.set(title="Who sees whom: a row sees the coloured columns")


if __name__ == "__main__":
    main()
