"""Work out what a model costs before it is loaded: weights, image tokens, floating-point operations, memory.

Arithmetic on configurations alone. Operations are counted as is usual: a linear map of n weights takes 2 n a token
forward, 2 n backward to its input, and 2 n more where it is trained itself; LoRA's own weights 2 forward and 4
backward; causal attention over T tokens 2 T^2 h a layer of width h forward, and 2.5 times that backward. A test
compares the number of weights with that of the real model on the meta device.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json
from vsd_utils.common.paths import user_path
from vsd_utils.common.sections import Base, Finetune

CONFIGURATIONS = Path(__file__).with_name("configurations")
BYTES_PER_WEIGHT = {"float32": 4, "bfloat16": 2, "8bit": 1, "4bit": 0.55}  # 4-bit with its scales
TRAINED_BYTES = 16  # weight, gradient and Adam's two moments of a weight that is trained, in float32
AUTOCAST_BYTES = 2  # of a float32 map's copy in bfloat16, which is kept until its gradient is there
SAVED_TRAINED_BYTES = 4 + 2 * 12  # on disk: the adapter, and two checkpoints with Adam's moments
# Of one token in one layer of width h, without recomputation, in bytes: 40 h, from the tensors that backward needs. A
# count by hand, right to about two fifths.
SAVED_BYTES = 40
PHOTO_BYTES = 86_000  # of a photo; an estimate: Visual Genome's 108,077 are about 15 GB, those that are needed 2.5
PICTURE_BYTES = 150_000  # of a photo with boxes drawn on it, as ``data/samples`` writes it; an estimate
LOGIT_BYTES = 10  # of one vocabulary entry of one token: bfloat16, then float32 and its gradient


# What a saved configuration leaves out, because it is the default of its class in transformers.
_LLAMA = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
_LEFT_OUT: Mapping[str, Mapping[str, int]] = {
    "llama": {**_LLAMA, "vocab_size": 32000},
    "qwen2": {**_LLAMA, "intermediate_size": 22016, "num_key_value_heads": 32, "vocab_size": 151936},
}


class Decoder(NamedTuple):
    """Hold the sizes of a language model: width, inner width, layers, widths of keys, vocabulary."""

    hidden: int
    intermediate: int
    layers: int
    keys: int  # heads times head size of keys and values: ``hidden`` without grouped queries
    vocabulary: int

    @property
    def linear(self) -> int:
        """Count the weights of all linear maps but the output's."""
        attention = 2 * self.hidden * self.hidden + 2 * self.hidden * self.keys
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def lora_per_rank(self) -> int:
        """Count the LoRA weights of all linear maps for each rank: input and output width of each map."""
        attention = 2 * (2 * self.hidden) + 2 * (self.hidden + self.keys)
        return self.layers * (attention + 3 * (self.hidden + self.intermediate))

    def trained(self, r: int | None) -> int:
        """Count the weights that are trained: LoRA's of rank ``r``, or without a rank those of the maps themselves."""
        return self.linear if r is None else r * self.lora_per_rank

    @property
    def cache_bytes(self) -> int:
        """Count the bytes that keys and values of one token take in bfloat16."""
        return 2 * 2 * self.layers * self.keys


class VisionLanguage(NamedTuple):
    """Hold the sizes of a LLaVA-NeXT: its language model, its tower's operations a tile, how pictures are tiled."""

    decoder: Decoder
    tile_operations: float  # of the vision tower and the projector, forward
    tile: int
    patch: int
    grids: tuple[tuple[int, int], ...]


def configuration(source: str, name: str | None) -> dict[str, Any]:
    """Find a model's configuration: a folder's ``config.json``, or the committed copy of a hub model's.

    Raises ``VsdError`` where there is neither.
    """
    if source == "folder":
        return dict(read_json(user_path(str(name)) / "config.json"))
    path = CONFIGURATIONS / f"{str(name).rsplit('/', 1)[-1]}.json"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGURATIONS.glob("*.json")))
        raise VsdError(
            f"{name}: its configuration is not among those in {CONFIGURATIONS} ({known}). Put the model's config.json "
            f"there as {path.name}, or give a folder that holds the model."
        )
    return dict(read_json(path))


def decoder(config: Mapping[str, Any]) -> Decoder:
    """Read the sizes of a language model of Llama's or Qwen2's kind from its configuration.

    Raises ``VsdError`` where it is of another kind and does not say them.
    """
    said = {**_LEFT_OUT.get(config.get("model_type", ""), {}), **config}
    try:
        heads = said["num_attention_heads"]
        return Decoder(
            said["hidden_size"],
            said["intermediate_size"],
            said["num_hidden_layers"],
            said["hidden_size"] // heads * said.get("num_key_value_heads", heads),
            said["vocab_size"],
        )
    except KeyError as error:
        raise VsdError(
            f"a language model of type {config.get('model_type')!r} whose configuration has no {error.args[0]}; "
            "expected a Llama or a Qwen2. Write its sizes into the configuration"
        ) from None


def vision_language(config: Mapping[str, Any]) -> VisionLanguage:
    """Read the sizes of a LLaVA-NeXT from its configuration; raises ``VsdError`` where it is of another model."""
    if config.get("model_type") != "llava_next":
        raise VsdError(f"a configuration of model type {config.get('model_type')!r}, expected that of a LLaVA-NeXT")
    vision, text = config["vision_config"], decoder(config["text_config"])
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    tokens = (vision["image_size"] // vision["patch_size"]) ** 2 + 1
    tower = vision["num_hidden_layers"] * (
        2 * tokens * (4 * width * width + 2 * width * inner) + 4 * tokens * tokens * width
    )
    projector = 2 * (tokens - 1) * (width * text.hidden + text.hidden * text.hidden)
    grids = tuple((int(height), int(across)) for height, across in config["image_grid_pinpoints"])
    return VisionLanguage(text, float(tower + projector), vision["image_size"], vision["patch_size"], grids)


def training_operations(
    model: VisionLanguage, tokens: float, tiles: float, r: int | None, recomputed: bool, before: float = 0.0
) -> float:
    """Count the operations of training on ``tokens`` tokens and ``tiles`` image tiles with LoRA rank ``r``, or none.

    ``recomputed``: activations are computed again in the backward pass. ``before``: so many tokens are attended to
    that are counted elsewhere, as those of a picture that several conversations share.
    """
    text = model.decoder
    # LoRA adds its own weights to those of the map; without a rank the map's weights take their gradients alone.
    added = 0 if r is None else 2 * text.trained(r) * tokens
    forward = _forward(text, tokens, before) + added
    attention = _attention(text, tokens, before)
    backward = 2 * text.linear * tokens + added + 2 * text.trained(r) * tokens + 2.5 * attention
    head = 2 * 2 * text.hidden * text.vocabulary * tokens
    return forward * (2 if recomputed else 1) + backward + head + tiles * model.tile_operations


def generation_operations(text: Decoder, tokens: float, new_tokens: float) -> float:
    """Count the operations of reading ``tokens`` tokens and writing ``new_tokens`` more."""
    return _forward(text, tokens) + new_tokens * 2 * (text.linear + text.hidden * text.vocabulary)


def _forward(text: Decoder, tokens: float, before: float = 0.0) -> float:
    return 2 * text.linear * tokens + _attention(text, tokens, before)


def _attention(text: Decoder, tokens: float, before: float) -> float:
    # Each token with all that stand before and, on average, half of the tokens themselves.
    return 2 * tokens * (tokens + 2 * before) * text.hidden * text.layers


def weight_bytes(billions: float, quantization: str, dtype: str) -> float:
    """Count the bytes of a model's weights, in ``dtype`` or quantised."""
    return billions * 1e9 * BYTES_PER_WEIGHT[dtype if quantization == "none" else quantization]


def finetune_bytes(text: Decoder, base: Base, settings: Finetune, tokens: float) -> float:
    """Count the bytes that fine-tuning takes with batches of at most ``tokens`` tokens.

    The base model's weights; those that are trained with their gradients and Adam's moments; and of each token of a
    batch the activations: recomputed, each layer's input and one layer in full, else all that backward needs; and the
    logits of all tokens.
    """
    trained = TRAINED_BYTES * text.trained(settings.r)
    if settings.r is None and settings.bf16:
        trained += AUTOCAST_BYTES * text.linear
    layer = SAVED_BYTES * text.hidden
    recomputed = 2 * text.hidden * text.layers + layer
    kept = recomputed if settings.activation_checkpointing else layer * text.layers
    batch = tokens * (kept + LOGIT_BYTES * text.vocabulary)
    return weight_bytes(base.billions, settings.quantization, settings.dtype) + trained + batch
