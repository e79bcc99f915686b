import json
import shutil

import gguf
import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from vsd_utils.commands.prepare_models import point_to, prepare_refiner
from vsd_utils.common.errors import VsdError
from vsd_utils.common.sections import Base, Refiner
from vsd_utils.miniature.smollm import convert
from vsd_utils.models.checkpoint import Pointer, location, read_pointer, write_pointer
from vsd_utils.refine.local_model import end_tokens, load

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "l", "1", "2", "Ġ", "al", "Ġb", "ĠĠ"]
MERGES = ["a l", "Ġ b", "Ġ Ġ"]
HEADS, GROUPS, WIDTH, INNER, LAYERS = 4, 2, 64, 96, 2
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """How llama.cpp's converter stores a query or key matrix."""
    return weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


@pytest.fixture(scope="module")
def original():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=WIDTH, intermediate_size=INNER, num_hidden_layers=LAYERS,
        num_attention_heads=HEADS, num_key_value_heads=GROUPS, max_position_embeddings=128, tie_word_embeddings=True,
        rms_norm_eps=1e-5, rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def gguf_file(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(GROUPS)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3] + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    state = original.state_dict()
    writer.add_tensor("token_embd.weight", state["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", state["model.norm.weight"].numpy())
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    }  # fmt: skip
    for layer in range(LAYERS):
        for theirs, ours in names.items():
            weight = state[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                weight = interleaved(weight, HEADS if theirs == "attn_q" else GROUPS)
            data = np.ascontiguousarray(weight.numpy())
            if theirs == "ffn_up":  # one quantised matrix: 8 bits in blocks of 32
                kind = gguf.GGMLQuantizationType.Q8_0
                writer.add_tensor(f"blk.{layer}.{theirs}.weight", gguf.quantize(data, kind), raw_dtype=kind)
            else:
                writer.add_tensor(f"blk.{layer}.{theirs}.weight", data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def converted(gguf_file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refiner")
    convert(gguf_file, folder)
    return folder


def test_converted_model_computes_what_the_original_does(original, converted):
    model, _ = load(converted, "float32", "none", "cpu")
    ids = torch.tensor([[1, 3, 9, 10, 5, 6, 2, 8]])
    with torch.inference_mode():
        expected, found = original(ids).logits, model(ids).logits
    # Only the 8-bit matrix differs.
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.002)
    assert model.config.tie_word_embeddings
    assert not any(weight.requires_grad and model.training for weight in model.parameters())


def test_converted_tokenizer(converted):
    _, tokenizer = load(converted, "bfloat16", "none", "cpu")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "al b  12"}], tokenize=False)
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids == [1, 9, 10, 11, 6, 7, 2]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "al b  12"
    assert (tokenizer.padding_side, tokenizer.pad_token_id, tokenizer.eos_token_id) == ("left", 2, 2)


def test_a_changed_file_is_not_loaded(converted, tmp_path):
    for file in converted.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(VsdError, match=r"config\.json: missing or changed"):
        load(tmp_path, "float32", "none", "cpu")


def settings(source: str, name: str | None = None, revision: str | None = None) -> Refiner:
    return Refiner(source=source, name=name, revision=revision, billions=7.0, shrunk=None)


def test_a_hub_model_is_only_pointed_to(tmp_path):
    revision = "f2826a00ceef68f0f2b946d945ecc0477ce4450c"
    prepare_refiner(settings("hub", "Qwen/Qwen2-7B-Instruct", revision), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.json"]
    assert location(tmp_path) == ("Qwen/Qwen2-7B-Instruct", revision)
    with pytest.raises(ValueError, match="revision must be a full commit hash"):
        settings("hub", "Qwen/Qwen2-7B-Instruct", "main")


def test_a_folder_of_the_user_is_loaded(converted, tmp_path):
    prepare_refiner(settings("folder", str(converted)), tmp_path)
    assert load(tmp_path, "float32", "none", "cpu")[0].config.hidden_size == WIDTH


@pytest.mark.parametrize(("section", "kind"), [("base", Base), ("refiner", Refiner)])
def test_both_models_folders_are_treated_alike(section, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my model").mkdir()
    sizes = {"shrunk": None, **({"tiny": None, "small": None} if kind is Base else {})}
    there = kind(source="folder", name="~/my model", revision=None, billions=7.0, **sizes)
    with pytest.raises(VsdError, match=rf"my model: no config\.json there\. Set {section}\.name to the folder"):
        point_to(there, section, tmp_path)
    (tmp_path / "my model" / "config.json").write_text("{}")
    point_to(there, section, tmp_path)
    assert read_pointer(tmp_path).name_or_path == "~/my model"  # as it was written, for other machines
    assert location(tmp_path) == (str(tmp_path / "my model"), None)


@pytest.fixture
def folder(converted, tmp_path):
    """A folder of the user with a model, and a pointer to it beside; tests spoil the model."""
    shutil.copytree(converted, tmp_path / "model", ignore=shutil.ignore_patterns("model.json"))
    prepare_refiner(settings("folder", str(tmp_path / "model")), tmp_path / "refiner")
    return tmp_path / "refiner"


def without(path, *keys):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in content.items() if key not in keys}))


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["tokenizer.json", "tokenizer_config.json"], r"(?s)tokenizer cannot be loaded.*needs tokenizer\.json"),
        (["chat_template.jinja"], r"(?s)no chat template.*refiner\.name.*chat_template\.jinja"),
        (["model.safetensors"], r"(?s)cannot be loaded.*downloaded"),
    ],
)
def test_what_a_folder_lacks_is_said(folder, names, says):
    for name in names:
        (folder.parent / "model" / name).unlink()
    with pytest.raises(VsdError, match=says):
        load(folder, "float32", "none", "cpu")


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors", "chat_template.jinja"])
@pytest.mark.parametrize("content", ["{}", "{%"])
def test_spoilt_files_end_in_no_traceback_of_a_library(folder, name, content):
    (folder.parent / "model" / name).write_text(content)
    if (name, content) == ("chat_template.jinja", "{}"):
        return  # a template, if a poor one
    with pytest.raises(VsdError, match=r"the refiner"):
        load(folder, "float32", "none", "cpu")


def test_a_model_with_weights_missing_is_refused(folder):
    config = json.loads((folder.parent / "model" / "config.json").read_text())
    (folder.parent / "model" / "config.json").write_text(json.dumps({**config, "num_hidden_layers": LAYERS + 1}))
    with pytest.raises(VsdError, match=r"not a whole model: 9 weights"):
        load(folder, "float32", "none", "cpu")


def test_how_an_answer_ends(folder):
    without(folder.parent / "model" / "tokenizer_config.json", "pad_token")
    _, tokenizer = load(folder, "float32", "none", "cpu")
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (2, 2)
    without(folder.parent / "model" / "tokenizer_config.json", "eos_token")
    model, tokenizer = load(folder, "float32", "none", "cpu")
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (2, None)
    assert end_tokens(model, tokenizer) == [2]
    without(folder.parent / "model" / "config.json", "eos_token_id", "pad_token_id")
    with pytest.raises(VsdError, match=r"(?s)no token that ends an answer.*eos_token"):
        load(folder, "float32", "none", "cpu")


def test_offline_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(VsdError, match=r"(?s)could not be downloaded.*refiner\.source"):
        prepare_refiner(settings("package"), tmp_path / "model")
    with pytest.raises(VsdError, match="run the stage"):
        load(tmp_path / "model", "float32", "none", "cpu")


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "file.gguf"
    path.write_bytes(b"not a model" * 10)
    with pytest.raises(VsdError, match="not a GGUF file"):
        convert(path, tmp_path)
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(VsdError, match="qwen2"):
        convert(path, tmp_path)


def test_pointer_file_with_an_error(tmp_path):
    (tmp_path / "model.json").write_text('{"name_or_path": "x", "revision": null, "source": "web", "sha256": {}}')
    with pytest.raises(VsdError, match=r"model\.json: source"):
        read_pointer(tmp_path)
    pointer = Pointer(name_or_path=".", revision=None, source="trained", sha256={})
    write_pointer(tmp_path, pointer)
    assert read_pointer(tmp_path) == pointer
