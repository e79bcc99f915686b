"""Leaving bitsandbytes out: only where nothing is quantised, and PEFT then works without it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from vsd_utils.common.paths import ROOT
from vsd_utils.models.imports import may_be_quantized


@pytest.mark.parametrize("quantized", [False, True])
def test_peft_with_and_without_bitsandbytes(quantized) -> None:
    code = f"""
from vsd_utils.models import imports
imports.lighten(quantized={quantized})
import sys
import peft.import_utils
from transformers.utils import is_bitsandbytes_available
print(is_bitsandbytes_available(), peft.import_utils.is_bnb_available(), bool(sys.modules.get("bitsandbytes")))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(quantized)] * 3


def test_a_model_may_be_quantized(tmp_path: Path) -> None:
    assert may_be_quantized("none", tmp_path)  # a pointer to the hub: nobody knows
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model_type": "llava_next"}))
    assert not may_be_quantized("none", tmp_path)
    assert may_be_quantized("8bit", tmp_path)
    config.write_text(json.dumps({"model_type": "llava_next", "quantization_config": {"load_in_4bit": True}}))
    assert may_be_quantized("none", tmp_path)
