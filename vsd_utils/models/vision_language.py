"""Loading the vision-language model, its processor and its adapter: from a folder or the hub, safetensors only."""

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoProcessor,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
)

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import BASE_MODEL
from vsd_utils.data.prompts import CHAT_TEMPLATE
from vsd_utils.models.checkpoint import location
from vsd_utils.models.loading import DTYPES, device, quantized

# bitsandbytes quantises every linear layer it is not told to leave alone. The head stays out because TRL's loss
# multiplies by its weight directly.
NOT_QUANTIZED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]


_UNFIT = (
    "{folder}: of its tensors {count} do not fit the base model, {first} for one. Was the adapter trained on another "
    "model? Train it again: dvc repro finetune"
)


def load_processor(base: Path = BASE_MODEL) -> LlavaNextProcessor:
    """Load image processor and tokenizer of the model that ``base`` points to, with this project's chat template."""
    name, revision = location(base)
    processor = AutoProcessor.from_pretrained(name, revision=revision)
    if not isinstance(processor, LlavaNextProcessor):
        raise VsdError(
            f"{name}: its processor is a {type(processor).__name__}, expected LLaVA-NeXT's. "
            "Set base.name to a LLaVA-NeXT checkpoint in the transformers format (llava-hf/...)."
        )
    processor.chat_template = CHAT_TEMPLATE
    processor.tokenizer.padding_side = "left"  # for generation; TRL pads by itself in training
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.unk_token
    return processor


def load_model(dtype: str, quantization: str = "none", base: Path = BASE_MODEL) -> LlavaNextForConditionalGeneration:
    """Load the base model that ``base`` points to, on ``device()``.

    ``dtype`` is that of weights and computation ("float32", "bfloat16"), ``quantization`` that of the language
    model's frozen linear layers ("none", "8bit", "4bit"). Raises ``VsdError`` where a weight is missing, which the
    library only warns of.
    """
    name, revision = location(base)
    model, info = AutoModelForImageTextToText.from_pretrained(
        name,
        revision=revision,
        dtype=DTYPES[dtype],
        quantization_config=quantized(quantization, dtype, NOT_QUANTIZED),
        device_map={"": device()},
        use_safetensors=True,
        output_loading_info=True,
    )
    if problems := {key: sorted(info[key]) for key in ("missing_keys", "mismatched_keys") if info.get(key)}:
        raise VsdError(f"{name}: not a whole LLaVA-NeXT checkpoint for this version of transformers: {problems}")
    return model


def outline(base: Path = BASE_MODEL) -> LlavaNextForConditionalGeneration:
    """Build the base model without its weights (on torch's meta device), to see what it is made of at no cost."""
    name, revision = location(base)
    config = AutoConfig.from_pretrained(name, revision=revision)
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def load_adapter(model: LlavaNextForConditionalGeneration, folder: Path) -> PeftModel:
    """Put a saved adapter on the base model, unmerged (merging into quantised weights changes the answers).

    Raises ``VsdError`` where the folder holds no adapter, or one whose tensors do not fit the model: the library only
    warns, and answers as if untuned.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise VsdError(f"{folder}: no adapter_model.safetensors. Make it with: dvc repro finetune")
    try:
        adapted = PeftModel.from_pretrained(model, str(folder))
    except KeyError as error:  # of weights that were trained themselves PEFT asks for every one
        raise VsdError(_UNFIT.format(folder=folder, count=1, first=error.args[0])) from None
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as file:
        saved = set(file.keys())
    if strange := saved ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False)):
        raise VsdError(_UNFIT.format(folder=folder, count=len(strange), first=sorted(strange)[0]))
    return adapted.eval()
