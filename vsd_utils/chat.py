"""Loading the text-only chat model that rewrites sentences: from a folder or the hub, safetensors only."""

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from vsd_utils import silence  # noqa: F401
from vsd_utils.errors import VsdError
from vsd_utils.pointers import location


def load(
    folder: Path,
    precision: Literal["float32", "bfloat16"],
    quantization: Literal["none", "8bit", "4bit"],
    device: str,
) -> tuple[Any, Any]:
    """Model (in evaluation mode, on ``device``) and tokenizer that ``<folder>/model.json`` points to.

    Only safetensors are read and no code of the model's repository runs. 4-bit is NF4 with double quantisation.
    Raises ``VsdError`` when the model cannot be found or a file of it has changed.
    """
    name, revision = location(folder)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    quantized = {
        "none": None,
        "8bit": BitsAndBytesConfig(load_in_8bit=True),
        "4bit": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        ),
    }[quantization]
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            quantization_config=quantized,
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise VsdError(
            f"the refiner {name} cannot be loaded: {str(error).strip().splitlines()[0]}\n"
            "Check refiner.name and refiner.revision, and that its files were downloaded."
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer
