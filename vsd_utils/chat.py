"""Loading the text-only chat model that rewrites sentences: from a folder or the hub, safetensors only."""

from pathlib import Path
from typing import Any, Literal

from transformers import AutoModelForCausalLM, AutoTokenizer

from vsd_utils import silence  # noqa: F401
from vsd_utils.errors import VsdError
from vsd_utils.pointers import location
from vsd_utils.precision import DTYPES, quantized


def load(
    folder: Path,
    precision: Literal["float32", "bfloat16"],
    quantization: Literal["none", "8bit", "4bit"],
    device: str,
) -> tuple[Any, Any]:
    """Model (in evaluation mode, on ``device``) and tokenizer that ``<folder>/model.json`` points to.

    Only safetensors are read and no code of the model's repository runs.
    Raises ``VsdError`` when the model cannot be found or a file of it has changed.
    """
    name, revision = location(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=DTYPES[precision],
            quantization_config=quantized(quantization, precision),
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
