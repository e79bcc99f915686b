"""Lighter imports for a process that is about to load the libraries: half of a small run is spent on them.

What is left out is only what the run has no use for; nothing computes anything else.
"""

import gc
import sys
from pathlib import Path

from vsd_utils.files import read_json


def lighten(*, quantized: bool) -> None:
    """Call before torch or PEFT is imported, in a process of one's own.

    PEFT imports bitsandbytes wherever it is installed, and bitsandbytes torch's compiler: two seconds of nine, for a
    run that quantises nothing. And Python's collector goes through all modules again and again while they are made.
    """
    gc.set_threshold(100_000)
    if not quantized:
        sys.modules.setdefault("bitsandbytes", None)  # type: ignore[arg-type]


def may_be_quantized(asked: str, model: Path) -> bool:
    """Whether a model has quantised weights: ``asked`` for, or its own. A pointer to the hub does not tell: maybe."""
    config = model / "config.json"
    return asked != "none" or not config.is_file() or "quantization_config" in read_json(config)
