"""The merged model: its answers are those of base and adapter, and stock transformers loads it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import get_peft_model
from tiny_model import write_base, write_samples
from transformers import AutoModelForImageTextToText, AutoProcessor

from vsd_utils.commands.export import card, export, refuse_4bit
from vsd_utils.common.errors import VsdError
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.data.photos import open_photo
from vsd_utils.data.prompts import question
from vsd_utils.finetune import adapter
from vsd_utils.finetune.recipe import LORA_FIELDS, lora_config, whole_maps
from vsd_utils.models import answering, vision_language
from vsd_utils.models.checkpoint import Pointer, read_pointer, write_pointer


@pytest.fixture(scope="module", params=["LoRA", "whole maps"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model and an adapter that changes its answers."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("export")
    base = write_base(root / "base", scale=1.0)
    finetune = Params.model_validate(compose(["profile=smoke"])).finetune.model_dump()
    lora = {name: value for name, value in finetune.items() if name in LORA_FIELDS}
    model, config = vision_language.load_model("float32", base=base), lora_config(**lora)
    if request.param == "whole maps":
        finetune["r"] = None
        config = whole_maps(config, model)
    model = get_peft_model(model, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
            elif "modules_to_save" in name:
                weight.add_(0.02 * torch.randn_like(weight))
    processor = vision_language.load_processor(base)
    adapter.save(
        model, processor, root / "adapter", read_pointer(base).model_dump(), finetune, {"Data": "six scenes"}, None
    )
    write_samples(root, 2)
    return root


def test_the_merged_model_answers_as_base_and_adapter_do(folder, tmp_path) -> None:
    export(tmp_path / "merged", "float32", None, folder / "base", folder / "adapter")
    pictures = [open_photo(folder / "images" / f"{number}.jpg") for number in range(2)]
    processor = vision_language.load_processor(folder / "base")
    inputs = answering.encode(processor, pictures, [question(1, "cup", "box"), question(3, "cup", "box")], "vicuna")
    base = vision_language.load_model("float32", base=folder / "base").eval()
    with torch.inference_mode():
        plain = base(**inputs).logits
        expected = vision_language.load_adapter(base, folder / "adapter")(**inputs).logits
        merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged").eval()
        found = merged(**inputs).logits
    real = inputs["attention_mask"].bool()
    assert (plain - expected)[real].abs().max() > 0.1
    assert (found - expected)[real].abs().max() < 1e-5
    stock = AutoProcessor.from_pretrained(tmp_path / "merged")
    assert stock.chat_template == processor.chat_template


def test_the_folder_is_what_a_hub_wants(folder, tmp_path) -> None:
    export(tmp_path / "merged", "bfloat16", None, folder / "base", folder / "adapter")
    names = {path.name for path in (tmp_path / "merged").iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".py")) or name.startswith("adapter")]
    read = ModelCard.load(tmp_path / "merged" / "README.md")
    assert (read.data.license, read.data.library_name, read.data.pipeline_tag) == (
        "apache-2.0",
        "transformers",
        "image-text-to-text",
    )
    assert "six scenes" in read.text
    of_lora = "| r |" in (folder / "adapter" / "README.md").read_text()
    assert ("with a LoRA adapter merged" in read.text, "lora" in read.data.tags) == (of_lora, of_lora)
    for path in (tmp_path / "merged").glob("*.json"):
        assert str(folder) not in path.read_text()
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_hub_model_needs_its_licence_and_is_named_in_the_card(folder, tmp_path) -> None:
    pointer = Pointer(name_or_path="llava-hf/x", revision="0" * 40, source="hub", sha256={})
    assert ModelCard(card(pointer, "bfloat16", "llama2", "r")).data.base_model == "llava-hf/x"
    write_pointer(tmp_path / "base", pointer)
    with pytest.raises(VsdError, match=r"licence of llava-hf/x .* --license llama2"):
        export(tmp_path / "merged", "float32", None, tmp_path / "base", folder / "adapter")


def test_what_cannot_be_merged_is_refused_before_any_work(folder, tmp_path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(VsdError, match="exists already"):
        export(tmp_path / "there", "float32", None, folder / "base", folder / "adapter")
    shutil.copytree(folder / "adapter", tmp_path / "adapter")
    text = (tmp_path / "adapter" / "README.md").read_text()
    assert "| quantization | none |" in text
    (tmp_path / "adapter" / "README.md").write_text(text.replace("| quantization | none |", "| quantization | 4bit |"))
    with pytest.raises(VsdError, match=r"tuned on 4-bit weights, .*finetune\.quantization=none"):
        export(tmp_path / "new", "float32", None, folder / "base", tmp_path / "adapter")
    for section in ("finetune", "describe"):
        with pytest.raises(VsdError, match=rf"{section}\.quantization: 4bit"):
            refuse_4bit(Params.model_validate(compose(["profile=mini", f"{section}.quantization=4bit"])))
    assert not (tmp_path / "new").exists()
