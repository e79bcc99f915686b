"""Count the weights of a real model without making any: on torch's meta device, from its configuration."""

from typing import Any

import torch
from peft import get_peft_model
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration

from vsd_utils.finetune.recipe import lora_config


def count_weights(config: dict[str, Any], r: int) -> tuple[int, int]:
    """Count the weights of a LLaVA-NeXT of this configuration, and of LoRA with rank ``r``, without making any."""
    with torch.device("meta"):
        model = LlavaNextForConditionalGeneration(LlavaNextConfig(**config))
        every = sum(weight.numel() for weight in model.parameters())
        adapted: Any = get_peft_model(model, lora_config(r=r))
    return every, int(adapted.get_nb_trainable_parameters()[0])
