"""Time the forms that attention over a packed row can take, forward and backward, at the paper's picture geometry.

    python benchmarks/packing/attention.py --output benchmarks/packing/attention.json

One layer's attention (not its linear maps) over a picture of 2,375 tokens and six conversations of 70: one call with a
dense mask; the two calls of vsd_utils/finetune/packing/attention.py; FlexAttention, where torch has its backward; and
what packing replaces, six causal passes over a picture and a conversation. See README.md.
"""

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import torch
from model import environment, now
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from vsd_utils.finetune.packing.attention import branch_mask, shared_image_attention
from vsd_utils.models.loading import device

PREFIX, BRANCH, BRANCHES = 2_375, 70, 6
HEADS = {"12 heads of 64": (12, 12), "9 heads of 64, 3 of keys and values": (9, 3)}
SEPARATE = "six separate passes"
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # queries, keys, values: (1, heads, tokens, 64)
Form = Callable[..., torch.Tensor]


def tensors(heads: int, keys: int, tokens: int) -> Tensors:
    """Draw queries, keys and values, bfloat16 on a GPU."""
    dtype = torch.bfloat16 if torch.cuda.is_available() else torch.float32

    def drawn(count: int) -> torch.Tensor:
        return torch.randn(1, count, tokens, 64, dtype=dtype, device=device(), requires_grad=True)

    return drawn(heads), drawn(keys), drawn(keys)


def dense(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attend in one call with a mask over all tokens, keys and values repeated as transformers does."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, dim=1) if groups > 1 else each for each in (key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask)


def two_calls(
    module: Any, mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Attend as finetune.packing=shared_image does."""
    return shared_image_attention(module, query, key, value, None, [mask])[0]


def separate(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Attend as to one of the six separate examples, six times."""
    grouped = query.shape[1] != key.shape[1]
    passes = [
        scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=grouped) for _ in range(BRANCHES)
    ]
    return torch.stack(passes)


def whole_mask() -> torch.Tensor:
    """Say which token of the row sees which: (1, 1, tokens, tokens)."""
    branches = branch_mask(PREFIX, [BRANCH] * BRANCHES)
    prefix = torch.ones(PREFIX, branches.shape[1], dtype=torch.bool).tril()
    return torch.cat([prefix, branches])[None, None].to(device())


def flex() -> Form:
    """Make FlexAttention over the row, compiled, with a block mask."""
    branch = torch.arange(PREFIX + BRANCH * BRANCHES, device=device()).sub(PREFIX).div(BRANCH, rounding_mode="floor")

    def sees(_batch: Any, _head: Any, query: Any, key: Any) -> Any:
        return (query >= key) & ((branch[key] < 0) | (branch[key] == branch[query]))

    tokens = len(branch)
    mask = create_block_mask(sees, None, None, tokens, tokens, device=device())
    return partial(torch.compile(flex_attention), block_mask=mask, enable_gqa=True)


def seconds(form: Form, drawn: Tensors, repeats: int) -> float:
    """Time forward and backward: the median of ``repeats``, after two that are not counted."""
    took = []
    for _ in range(2 + repeats):
        start = now()
        form(*drawn).sum().backward()
        took.append(now() - start)
    return median(took[2:])


def measure(heads: int, keys: int, repeats: int) -> dict[str, Any]:
    """Time all forms with so many heads, and divide what they replace by them."""
    row, one = tensors(heads, keys, PREFIX + BRANCH * BRANCHES), tensors(heads, keys, PREFIX + BRANCH)
    # What transformers' function asks of a layer.
    layer = SimpleNamespace(num_key_value_groups=heads // keys, is_causal=True)
    branches = branch_mask(PREFIX, [BRANCH] * BRANCHES).to(device())
    took: dict[str, Any] = {
        SEPARATE: seconds(separate, one, repeats),
        "one call, dense mask": seconds(partial(dense, whole_mask()), row, repeats),
        "two calls (used)": seconds(partial(two_calls, layer, branches), row, repeats),
    }
    try:
        took["FlexAttention"] = seconds(flex(), row, repeats)
    except (NotImplementedError, RuntimeError) as error:  # torch has no backward for it on a CPU
        took["FlexAttention"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    ratios = {name: took[SEPARATE] / each for name, each in took.items() if isinstance(each, float)}
    return {"seconds": took, "times as fast as six separate passes": ratios}


def main() -> None:
    """Measure, print, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=15)
    given = parser.parse_args()
    record: dict[str, Any] = {**environment(), "tokens": {"prefix": PREFIX, "branches": [BRANCH] * BRANCHES}}
    print("| form | heads | s, forward and backward | times as fast |\n| --- | --- | --- | --- |")
    for name, (heads, keys) in HEADS.items():
        record[name] = measure(heads, keys, given.repeats)
        ratios = record[name]["times as fast as six separate passes"]
        for form, took in record[name]["seconds"].items():
            said = f"{took:.4f} | {ratios[form]:.2f}" if form in ratios else f"{took} |"
            print(f"| {form} | {name} | {said} |", flush=True)
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
