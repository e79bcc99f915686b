"""The LoRA adapter as an artifact: what it adapts, what it is saved with, and its model card."""

import os
from pathlib import Path
from typing import Any

import torch

from vsd_utils.common.files import replacing_folder, write_text
from vsd_utils.common.paths import BASE_MODEL, ROOT, user_path

FROZEN = ("vision_tower", "multi_modal_projector", "embed_tokens", "lm_head")


def adapted_modules(model: Any) -> list[str]:
    """Names of the linear maps that carry LoRA weights."""
    return sorted({name.split(".lora_A")[0] for name, _ in model.named_parameters() if ".lora_A" in name})


def trainable(model: Any) -> dict[str, int]:
    """Number of trainable and of all parameters, and of trainable ones that should be frozen (0 if all is well)."""
    named = list(model.named_parameters())
    learning = [(name, weight) for name, weight in named if weight.requires_grad]
    return {
        "trainable": sum(weight.numel() for _, weight in learning),
        "all": sum(weight.numel() for _, weight in named),
        "wrongly trainable": sum(weight.numel() for name, weight in learning if any(part in name for part in FROZEN)),
    }


def show_mask(processor: Any, batch: dict[str, torch.Tensor], row: int = 0) -> dict[str, Any]:
    """One row of a training batch, decoded: the text the loss ignores, the text it is on, and token counts.

    Image tokens are folded into one. ``begin`` and ``end`` count the begin and end tokens of the whole row.
    """
    tokenizer = processor.tokenizer
    ids, labels = batch["input_ids"][row], batch["labels"][row]
    ids, labels = ids[batch["attention_mask"][row] == 1], labels[batch["attention_mask"][row] == 1]
    image = processor.image_token_id
    folded = [int(token) for place, token in enumerate(ids) if token != image or place == 0 or ids[place - 1] != image]
    answer = [int(token) for token, label in zip(ids, labels, strict=True) if label != -100]
    return {
        "prompt": tokenizer.decode(folded[: len(folded) - len(answer)]),
        "answer": tokenizer.decode(answer),
        "image tokens": int((ids == image).sum()),
        "tokens": len(ids),
        "tokens in the loss": len(answer),
        "begin": int((ids == tokenizer.bos_token_id).sum()),
        "end": int((ids == tokenizer.eos_token_id).sum()),
    }


def save(
    model: Any, processor: Any, folder: Path, base: dict[str, Any], settings: dict[str, Any], outcome: dict[str, Any]
) -> None:
    """Save the adapter in PEFT's format (safetensors), its processor, and a model card made of what is known about it.

    PEFT notes the base model as an absolute path, which would differ between machines: a model below the checkout is
    named from there ("models/base").
    """
    if base["source"] != "hub":
        named = base["name_or_path"]
        path = os.path.normpath(user_path(named) if base["source"] == "folder" else BASE_MODEL / named)
        name = os.path.relpath(path, ROOT) if Path(path).is_relative_to(ROOT) else path
        model.peft_config[model.active_adapter].base_model_name_or_path = Path(name).as_posix()
    # The embeddings are never trained; to find that out by itself, PEFT would look for the base model on the hub.
    with replacing_folder(folder) as made:
        model.save_pretrained(str(made), safe_serialization=True, save_embedding_layers=False)
        write_text(made / "README.md", card(base, settings, outcome))
        processor.save_pretrained(made)


def card(base: dict[str, Any], settings: dict[str, Any], outcome: dict[str, Any]) -> str:
    """The model card: base model, recipe, data and losses, as Markdown with the metadata that model hubs read."""
    name = base["name_or_path"] if base["source"] == "hub" else f"{base['source']} model"
    lines = [
        "---",
        "library_name: peft",
        f"base_model: {name}",
        "tags: [lora, visual-spatial-description, llava-next]",
        "---",
        "",
        "# LoRA adapter for visual spatial description",
        "",
        "Names the spatial relation of two objects in an image and describes it in one or three sentences, after",
        "LLaVA-VSD (arXiv 2408.04957). The subject's box is drawn red on the image, the object's green.",
        "Low-rank weights on the language model's linear maps; vision tower and projector are the base model's.",
        "",
        f"- Base model: {name}" + (f", revision {base['revision']}" if base["revision"] else ""),
        *(f"- {key}: {value}" for key, value in outcome.items()),
        "",
        "| parameter | value |",
        "| --- | --- |",
        *(f"| {key} | {value} |" for key, value in settings.items()),
    ]
    return "\n".join(lines) + "\n"
