"""How torch computes: threads, precision, device, dtype, weights quantised by bitsandbytes or not; and quietly.

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
from vsd_utils.common.values import MatmulPrecision

# transformers 5 renamed "gradient checkpointing" to "activation checkpointing" and still reads the old name itself,
# as TRL 1.16 and PEFT 0.21 do.
warnings.filterwarnings("ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning)

# Bars and "mtime may not be reliable on this filesystem": in an executed notebook they would stand as text for ever,
# another one after each run. ``vsd_utils.common.progress`` shows what there is to wait for. (Those of datasets:
# ``vsd_utils.finetune.trainer``.)
logging.disable_progress_bar()
logging.set_verbosity_error()

# The parameters of a stage that say how torch computes, for the processes that it starts.
COMPUTED_BY = ("threads", "float32_matmul_precision", "dtype", "quantization")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def set_up_torch(threads: int | None, float32_matmul_precision: MatmulPrecision | None) -> None:
    """Let torch use ``threads`` of the CPU, None for its own choice (one a core), and say how it may multiply float32.

    None is torch's "highest". With "medium" on a processor with AVX-512 oneDNN multiplies in place of MKL, and may
    round to bfloat16 (torch's ``use_mkldnn_matmul``, aten/src/ATen/native/mkldnn/Matmul.cpp); what that was worth on
    one processor is in benchmarks/small/precision.json.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(float32_matmul_precision or "highest")


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
