"""Attention over a packed row: each branch sees its picture's prefix and itself, and nothing else of the row.

Two plain calls a picture and layer instead of one with a mask over everything: the prefix is causal by itself, which
the fast kernels know without a mask, and the branches look at the whole of their picture's tokens through a mask that
is as high as they are long. Keys and values are not copied. Registered with transformers under ``NAME``, as
https://huggingface.co/docs/transformers/attention_interface says; a row without branches is computed as ever.
"""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shared_image"


def shared_image_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    branch_masks: Sequence[torch.Tensor] | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each picture of a packed row: (1, heads, tokens, width) to (1, tokens, heads, width).

    ``branch_masks`` has one mask for each picture in the row (``collator.py``): (tokens of its branches, tokens of its
    prefix and branches), true where a branch's token sees another. ``options`` are those of transformers' attention
    functions. Without ``branch_masks`` this is transformers' "sdpa".
    """
    if branch_masks is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    attended, start = [], 0
    for mask in branch_masks:
        # 1. The picture's part of the row; of prefix and branches, in this order.
        tokens, prefix = mask.shape[1], mask.shape[1] - mask.shape[0]
        of_picture = slice(start, start + tokens)
        q, k, v = query[:, :, of_picture], key[:, :, of_picture], value[:, :, of_picture]
        # 2. The prefix, causal: (1, prefix, heads, width).
        before = (x[:, :, :prefix] for x in (q, k, v))
        attended.append(sdpa_attention_forward(module, *before, None, **options, is_causal=True)[0])
        # 3. The branches over everything of the picture: (1, tokens - prefix, heads, width).
        behind = q[:, :, prefix:], k, v
        attended.append(sdpa_attention_forward(module, *behind, mask[None, None], **options, is_causal=False)[0])
        start += tokens
    return torch.cat(attended, dim=1), None


def branch_mask(prefix: int, branches: Sequence[int]) -> torch.Tensor:
    """Say which tokens of a picture each token of its branches sees: (branch tokens, prefix + branch tokens), boolean.

    ``prefix`` and ``branches`` are numbers of tokens. A branch's token sees the prefix and what is before it in its
    own branch, itself too.
    """
    branch = torch.repeat_interleave(torch.arange(len(branches)), torch.tensor(branches))
    own = (branch[:, None] == branch[None, :]).tril()
    return torch.cat([torch.ones(len(branch), prefix, dtype=torch.bool), own], dim=1)


def use_shared_image_attention(model: Any) -> None:
    """Let the language model of ``model``, a vision-language model of transformers, compute packed rows."""
    model.set_attn_implementation({"text_config": NAME})


AttentionInterface.register(NAME, shared_image_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
