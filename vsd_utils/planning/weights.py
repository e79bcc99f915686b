"""Count the weights of a real model without making any: on torch's meta device, from its configuration."""

from typing import Any

import torch
from peft import get_peft_model
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from vsd_utils.finetune.recipe import lora_config, whole_maps


def count_weights(config: dict[str, Any], r: int | None) -> tuple[int, int]:
    """Count the weights of a LLaVA-NeXT of this configuration, and those that are trained, without making any.

    ``r`` is LoRA's rank; None: the maps that it would be put on are trained themselves.
    """
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
        every = sum(weight.numel() for weight in model.parameters())
        lora = whole_maps(lora_config(), model) if r is None else lora_config(r=r)
        adapted: Any = get_peft_model(model, lora)
    return every, int(adapted.get_nb_trainable_parameters()[0])
