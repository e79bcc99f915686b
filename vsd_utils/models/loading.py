"""How torch computes: with how many threads, in float32 or bfloat16, with weights quantised by bitsandbytes or not."""

from typing import Any

import torch
from transformers import BitsAndBytesConfig

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def limit_threads(count: int | None) -> None:
    """Let torch use ``count`` threads of the CPU; None leaves it its own choice (one a core)."""
    if count is not None:
        torch.set_num_threads(count)


def quantized(name: str, precision: str, left_alone: list[str] | None = None) -> BitsAndBytesConfig | None:
    """How linear layers are quantised: "none", "8bit", or "4bit" (NF4 with double quantisation, as QLoRA).

    ``precision`` (a key of ``DTYPES``) is what 4-bit weights are computed in; ``left_alone`` names modules that stay
    whole, complete from the top (transformers 5); None leaves out the output layer only.
    """
    if name == "none":
        return None
    options: dict[str, Any] = {"llm_int8_skip_modules": left_alone}
    if name == "4bit":
        options |= {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": DTYPES[precision],
        }
    else:
        options["load_in_8bit"] = True
    return BitsAndBytesConfig(**options)
