"""How torch computes: threads, device, float32 or bfloat16, weights quantised by bitsandbytes or not; and quietly.

Importing this module leaves out messages of the libraries about their own code, which no user can act on; each filter
has its reason and goes when that does.
"""

import os
import warnings
from typing import Any

import torch
from transformers import BitsAndBytesConfig
from transformers.utils import logging

from vsd_utils.common.errors import VsdError

# transformers 5 renamed "gradient checkpointing" to "activation checkpointing" and still reads the old name itself,
# as TRL 1.16 and PEFT 0.21 do.
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)

# Bars and "mtime may not be reliable on this filesystem": in an executed notebook they would stand as text for ever,
# another one after each run. ``vsd_utils.common.progress`` shows what there is to wait for. (Those of datasets:
# ``vsd_utils.finetune.trainer``.)
logging.disable_progress_bar()
logging.set_verbosity_error()

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def limit_threads(count: int | None) -> None:
    """Let torch use ``count`` threads of the CPU; None leaves it its own choice (one a core)."""
    if count is not None:
        torch.set_num_threads(count)


def device() -> str:
    """Name the device of this process: "cuda" (of several processes each its own, "cuda:1"), else "mps", else "cpu".

    The one place where it is chosen. Raises ``VsdError`` where a machine has more processes than NVIDIA GPUs.
    """
    if torch.cuda.is_available():
        if "LOCAL_RANK" not in os.environ:
            return "cuda"
        number, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= found:
            raise VsdError(
                f"processes: one machine has at least {number + 1} of them and {found} GPUs. Set it to less."
            )
        return f"cuda:{number}"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def quantized(name: str, dtype: str, left_alone: list[str] | None = None) -> BitsAndBytesConfig | None:
    """Say how linear layers are quantised: "none", "8bit", or "4bit" (NF4 with double quantisation, as QLoRA).

    ``dtype`` (a key of ``DTYPES``) is what 4-bit weights are computed in; ``left_alone`` names modules that stay
    whole, complete from the top (transformers 5); None leaves out the output layer only. Raises ``VsdError`` on Apple's
    GPU, for which bitsandbytes has no kernels.
    """
    if name == "none":
        return None
    if device() == "mps":
        raise VsdError(
            f"quantization = {name!r}: bitsandbytes computes on NVIDIA GPUs and CPUs, found mps. Set it to none."
        )
    options: dict[str, Any] = {"llm_int8_skip_modules": left_alone}
    if name == "4bit":
        options |= {
            "load_in_4bit": True,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": DTYPES[dtype],
        }
    else:
        options["load_in_8bit"] = True
    return BitsAndBytesConfig(**options)
