"""Merge the adapter into the base model: one folder that stock transformers, vLLM or a model hub take.

    vsd export FOLDER
    vsd export FOLDER --dtype bfloat16 --license llama2

Reads ``models/base`` and ``models/adapter``. Writes safetensors, configuration, processor with this project's chat
template, and a model card with the metadata that hubs want. The folder must not exist yet. It is refused where the
adapter was tuned on 4-bit weights: merged into them the adapter would be rounded away in part, and merged into the
whole weights it would stand on others than it was tuned and scored on.
"""

import argparse
from pathlib import Path

from huggingface_hub import ModelCardData

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder, write_text
from vsd_utils.common.params import load
from vsd_utils.common.paths import ADAPTER, BASE_MODEL
from vsd_utils.common.sections import Params
from vsd_utils.common.values import Dtype
from vsd_utils.models.checkpoint import Pointer, read_pointer

OWN_LICENSE = "apache-2.0"  # of a model that is made here from scratch, as the project's
_CARD = """\
---
{metadata}
---

# Visual spatial description: LLaVA-NeXT with {tuned} merged

Names the spatial relation of two objects in an image and describes it in one or three sentences, after LLaVA-VSD
(arXiv 2408.04957). The subject's box is drawn red on the image, the object's green. Merged in {dtype}; load it with
`AutoModelForImageTextToText` and `AutoProcessor`. The chat template is Vicuna's with its begin and end tokens.

## How the adapter was tuned

{recipe}
"""


def export(
    output: Path, dtype: Dtype, license_id: str | None, base: Path = BASE_MODEL, adapter: Path = ADAPTER
) -> None:
    """Merge ``adapter`` into the model that ``base`` points to, in ``dtype``, and write the new folder ``output``.

    Raises ``VsdError`` where the folder exists, a model is missing or was tuned on 4-bit weights, or no licence is
    known.
    """
    # 1. What can be refused before a weight is read.
    if output.exists():
        raise VsdError(f"{output}: exists already. Name a new folder, or remove this one")
    pointer = read_pointer(base)
    recipe = _recipe(adapter)
    if "| quantization | 4bit |" in recipe:
        raise VsdError(
            f"{adapter}: was tuned on 4-bit weights, and merging changes its answers: 4-bit weights round it away in "
            "part, whole ones are not those it was tuned on. Tune it on the whole base model and export that: "
            "dvc exp run -S finetune.quantization=none"
        )
    chosen = license_id or (OWN_LICENSE if pointer.source == "trained" else None)
    if chosen is None:
        raise VsdError(
            f"the licence of {pointer.name_or_path} binds the merged model, and is not known here. Look it up in its "
            "model card and give it as the hub writes it, for example: --license llama2"
        )
    # 2. Base and adapter become one model.
    from vsd_utils.models import vision_language

    processor = vision_language.load_processor(base)
    model = vision_language.load_model(dtype, base=base)
    if getattr(model.config, "quantization_config", None):
        raise VsdError(
            f"{pointer.name_or_path}: its weights are quantised, and merging into them changes the answers. Set "
            "base.name to the checkpoint with whole weights, tune on that and export again"
        )
    merged = vision_language.load_adapter(model, adapter).merge_and_unload()
    # 3. Weights, processor and card, all or nothing.
    try:
        with replacing_folder(output) as folder:
            merged.save_pretrained(str(folder))
            processor.save_pretrained(folder)
            write_text(folder / "README.md", card(pointer, dtype, chosen, recipe))
    except OSError as error:
        raise VsdError(f"{output}: cannot be written ({error}). Choose another folder, or make room") from None


def card(pointer: Pointer, dtype: Dtype, license_id: str, recipe: str) -> str:
    """Write the model card; its metadata name the base model where that is on the hub."""
    full = "| r |" not in recipe  # the adapter's card has a rank where LoRA was used
    metadata = ModelCardData(
        license=license_id,
        base_model=pointer.name_or_path if pointer.source == "hub" else None,
        language="en",
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        tags=["visual-spatial-description", "llava-next", *([] if full else ["lora"])],
    )
    tuned = "whole tuned maps" if full else "a LoRA adapter"
    return _CARD.format(metadata=metadata.to_yaml(), tuned=tuned, dtype=dtype, recipe=recipe)


def _recipe(adapter: Path) -> str:
    """Read base model, data, losses and parameters from the adapter's own card."""
    path = adapter / "README.md"
    if not path.is_file():
        raise VsdError(f"{path}: no such file. Make the adapter with: dvc repro finetune")
    text = path.read_text(encoding="utf-8")
    return text[max(0, text.find("- Base model:")) :].strip()


def refuse_4bit(params: Params) -> None:
    """Raise ``VsdError`` where the parameters have a model tuned or asked in 4 bit."""
    for section in ("finetune", "describe"):
        if getattr(params, section).quantization == "4bit":
            raise VsdError(
                f"params.yaml, {section}.quantization: 4bit. Scores of 4-bit weights do not speak of the merged model, "
                f"whose weights are whole. Set {section}.quantization=none, run dvc repro, and export again"
            )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the new folder, and how it is written."""
    parser.add_argument("output", type=Path, metavar="FOLDER", help="where the merged model goes; must not exist yet")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the merged weights (finetune.dtype)")
    parser.add_argument("--license", metavar="ID", help="licence of the base model, as the hub writes it, like llama2")


def run(given: argparse.Namespace) -> int:
    """Write the merged model."""
    params = load()
    refuse_4bit(params)
    export(given.output, given.dtype or params.finetune.dtype, given.license)
    print(f"written: {given.output}")
    return 0
