"""The adapter as an artifact, of LoRA or whole maps: what it adapts, what it is saved with, and its model card."""

import os
from pathlib import Path
from typing import Any

from peft import PeftModel

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder, write_text
from vsd_utils.common.paths import BASE_MODEL, ROOT, user_path

_OF_LORA = ("r", "lora_alpha", "lora_dropout")  # say nothing where maps are trained whole
FROZEN = ("vision_tower", "multi_modal_projector", "embed_tokens", "lm_head")


def adapted_modules(model: PeftModel) -> list[str]:
    """Return the names of the linear maps that are trained, by LoRA weights or themselves, in alphabetical order."""
    return sorted(model.active_peft_config.modules_to_save or model.base_model.targeted_module_names)


def parameter_counts(model: PeftModel) -> dict[str, int]:
    """Count the trainable parameters and all of them.

    Raises ``VsdError`` where a weight would be trained that the paper keeps as the base model's.
    """
    learning = [name for name, weight in model.named_parameters() if weight.requires_grad]
    if wrong := [name for name in learning if any(part in name for part in FROZEN)]:
        raise VsdError(
            f"{len(wrong)} weights outside the language model's layers would be trained, {wrong[0]} for one. "
            "Leave out the further field of section finetune that asks for it."
        )
    trainable, everything = model.get_nb_trainable_parameters()
    return {"trainable": trainable, "all": everything}


def save(
    model: Any,
    processor: Any,
    folder: Path,
    base: dict[str, Any],
    settings: dict[str, Any],
    outcome: dict[str, Any],
    weights: dict[str, Any] | None,
) -> None:
    """Save the adapter in PEFT's format (safetensors), its processor, and a model card made of what is known about it.

    ``base`` is the content of the base model's pointer, ``settings`` the parameters, ``outcome`` what else the card
    says of the training, ``weights`` the model's where each process holds a part of them (None: they are in the
    model). PEFT notes the base model as an absolute path, which would differ between machines: a model
    below the checkout is named from there ("models/base").
    """
    # 1. The base model's name, the same on every machine.
    if base["source"] != "hub":
        named = base["name_or_path"]
        path = os.path.normpath(user_path(named) if base["source"] == "folder" else BASE_MODEL / named)
        name = os.path.relpath(path, ROOT) if Path(path).is_relative_to(ROOT) else path
        model.peft_config[model.active_adapter].base_model_name_or_path = Path(name).as_posix()
    # 2. Weights, card and processor, all or nothing.
    # The embeddings are never trained; to find that out by itself, PEFT would look for the base model on the hub.
    with replacing_folder(folder) as made:
        model.save_pretrained(str(made), safe_serialization=True, save_embedding_layers=False, state_dict=weights)
        write_text(made / "README.md", card(base, settings, outcome))
        processor.save_pretrained(made)


def card(base: dict[str, Any], settings: dict[str, Any], outcome: dict[str, Any]) -> str:
    """Write the model card: base model, recipe, data and losses, as Markdown with metadata that model hubs read."""
    name = base["name_or_path"] if base["source"] == "hub" else f"{base['source']} model"
    full = settings["r"] is None
    trained = "Weights of their own for" if full else "Low-rank weights on"
    lines = [
        "---",
        "library_name: peft",
        f"base_model: {name}",
        f"tags: [{'' if full else 'lora, '}visual-spatial-description, llava-next]",
        "---",
        "",
        f"# {'Fine-tuned layers' if full else 'LoRA adapter'} for visual spatial description",
        "",
        "Names the spatial relation of two objects in an image and describes it in one or three sentences, after",
        "LLaVA-VSD (arXiv 2408.04957). The subject's box is drawn red on the image, the object's green.",
        f"{trained} the language model's linear maps; vision tower and projector are the base model's.",
        "",
        f"- Base model: {name}" + (f", revision {base['revision']}" if base["revision"] else ""),
        *(f"- {key}: {value}" for key, value in outcome.items()),
        "",
        "| parameter | value |",
        "| --- | --- |",
        *(f"| {key} | {value} |" for key, value in settings.items() if not full or key not in _OF_LORA),
    ]
    return "\n".join(lines) + "\n"
