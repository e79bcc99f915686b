"""The model of these benchmarks: LLaVA-NeXT of the paper's classes and picture geometry, random, small or in full."""

import gc
import time
from typing import Any, NamedTuple

import peft
import torch
import transformers
import trl
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from vsd_utils.common.sections import Shrunk
from vsd_utils.data.prompts import IMAGE
from vsd_utils.miniature.model.stand_ins import published_processor, smaller_config
from vsd_utils.models.loading import device
from vsd_utils.planning import costs

NAME = "llava-hf/llava-v1.6-vicuna-13b-hf"
# Of the small model. In the paper's the tower takes 1.5 per cent of the operations of a separate example; as wide as
# the language model it would take most of them here, and packing, which reads a picture once, would look better.
TOWER = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
HEAD = 64  # width of an attention head


class Built(NamedTuple):
    """Hold the configuration that models are made of, and their processor."""

    config: dict[str, Any]
    processor: Any
    full: bool

    def model(self) -> Any:
        """Make a model with random weights, the same at each call: bfloat16 in full, else float32."""
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16 if self.full else torch.float32)
        with torch.device(device()):
            made = LlavaNextForConditionalGeneration(LlavaNextConfig(**self.config))
        torch.set_default_dtype(torch.float32)
        tokenizer = self.processor.tokenizer
        made.generation_config.update(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return made


def build(width: int, layers: int, full: bool, tokenizer: Any) -> Built:
    """Configure the 13B model in full, or one with a language model of ``width`` and ``layers``."""
    config = costs.configuration("hub", NAME)
    processor = published_processor(config, tokenizer)
    if full:
        config["image_token_index"] = tokenizer.convert_tokens_to_ids(IMAGE)
        return Built(config, processor, full)
    shrunk = Shrunk(width=width, layers=layers, heads=width // HEAD, tokens=len(tokenizer))
    small = smaller_config(config, shrunk, tokenizer)
    small["vision_config"] |= TOWER
    return Built(small, processor, full)


def describe(built: Built, tokens: float, rank: int) -> dict[str, Any]:
    """Say the sizes of the model, and which shares of a separate example of ``tokens`` tokens its ends take."""
    sizes = costs.vision_language(built.config)
    text = sizes.decoder
    everything = costs.training_operations(sizes, tokens, 5, rank, recomputed=False)
    return {
        "width": text.hidden,
        "inner width": text.intermediate,
        "layers": text.layers,
        "heads": built.config["text_config"]["num_attention_heads"],
        "vocabulary": text.vocabulary,
        "weights": text.linear + 2 * text.hidden * text.vocabulary,
        "LoRA rank": rank,
        "share of operations: output head on all tokens": 4 * text.hidden * text.vocabulary * tokens / everything,
        "share of operations: vision tower and projector": 5 * sizes.tile_operations / everything,
        "share of operations: attention, forward and backward": 7 * tokens**2 * text.hidden * text.layers / everything,
        "dtype": "bfloat16" if built.full else "float32",
    }


def environment() -> dict[str, Any]:
    """Say what computes: device, threads, versions."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else device(),
        "threads": torch.get_num_threads(),
        **{each.__name__: each.__version__ for each in (torch, transformers, trl, peft)},
    }


def now() -> float:
    """Wait for the device, then read the clock."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def free() -> None:
    """Give back the memory of what is no longer used."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
