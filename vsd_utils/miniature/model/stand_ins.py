"""Stand-ins for the paper's two models: their classes and processors, shrunken, with random weights.

Profile rehearsal runs the paper's stages with them. Whatever does not depend on a model's size is the real model's, of
its configuration: tile and patch size, tile grids, feature layer, chat template, precision. What they write is noise.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from vsd_utils.common.files import sha256
from vsd_utils.common.sections import Shrunk
from vsd_utils.data.prompts import CHAT_TEMPLATE, IMAGE, QUESTIONS
from vsd_utils.miniature.model.architecture import make_tokenizer
from vsd_utils.models import loading  # noqa: F401  (for quiet libraries)
from vsd_utils.models.checkpoint import Pointer, write_pointer

QWEN2_TEMPLATE = Path(__file__).with_name("qwen2.jinja")
QWEN2_TOKENS = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>"}


def save_vision_language(
    config: Mapping[str, Any], shrunk: Shrunk, texts: Sequence[str], seed: int, folder: Path
) -> None:
    """Save a LLaVA-NeXT of the real model's ``config``, but for its sizes, with its processor, into ``folder``.

    Its tokenizer is made of ``texts``. All but sizes is the real one's, so a photo has as many image tokens.
    """
    tokenizer = make_tokenizer(texts, shrunk.tokens)
    # 1. The real configuration with small widths; ids are those of the small vocabulary.
    torch.manual_seed(seed)
    model = LlavaNextForConditionalGeneration(LlavaNextConfig(**smaller_config(config, shrunk, tokenizer)))
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    # 2. The processor of the published checkpoint, but for the tokenizer.
    processor = published_processor(config, tokenizer)
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    _point(folder)


def smaller_config(config: Mapping[str, Any], shrunk: Shrunk, tokenizer: Any) -> dict[str, Any]:
    """Put small widths and a small tokenizer's ids into the configuration of a LLaVA-NeXT."""
    small = deepcopy(dict(config))
    small["text_config"] = _smaller(config["text_config"], shrunk, tokenizer)
    small["vision_config"] |= _sizes(shrunk) | {"projection_dim": shrunk.width}
    small["image_token_index"] = tokenizer.convert_tokens_to_ids(IMAGE)
    return small


def published_processor(config: Mapping[str, Any], tokenizer: Any) -> LlavaNextProcessor:
    """Make the processor of the published checkpoint of this configuration, but for the tokenizer."""
    vision = config["vision_config"]
    side = vision["image_size"]
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        image_grid_pinpoints=config["image_grid_pinpoints"],
    )
    return LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=vision["patch_size"],
        vision_feature_select_strategy=config["vision_feature_select_strategy"],
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def save_chat(config: Mapping[str, Any], shrunk: Shrunk, folder: Path) -> None:
    """Save a Qwen2 of the real model's ``config``, but for its sizes, with its chat template, into ``folder``."""
    # 1. A byte-level tokenizer with Qwen2's control tokens.
    bytes_and_pairs = Tokenizer(models.BPE())
    bytes_and_pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytes_and_pairs.decoder = decoders.ByteLevel()
    control = [AddedToken(token, special=True) for token in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")]
    trainer = trainers.BpeTrainer(
        vocab_size=shrunk.tokens,
        special_tokens=control,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bytes_and_pairs.train_from_iterator(QUESTIONS.values(), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytes_and_pairs, **QWEN2_TOKENS, padding_side="left")
    tokenizer.chat_template = QWEN2_TEMPLATE.read_text(encoding="utf-8")
    # 2. The model.
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**_smaller(config, shrunk, tokenizer)))
    model.generation_config.update(
        bos_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _point(folder)


def _smaller(config: Mapping[str, Any], shrunk: Shrunk, tokenizer: Any) -> dict[str, Any]:
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    grouped = config["num_attention_heads"] // config["num_key_value_heads"]
    keys = max(1, shrunk.heads // grouped)
    return {**config, **_sizes(shrunk), **ids, "num_key_value_heads": keys, "vocab_size": len(tokenizer)}


def _sizes(shrunk: Shrunk) -> dict[str, int]:
    return {
        "hidden_size": shrunk.width,
        "intermediate_size": 3 * shrunk.width,
        "num_hidden_layers": shrunk.layers,
        "num_attention_heads": shrunk.heads,
    }


def _point(folder: Path) -> None:
    digests = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    write_pointer(folder, Pointer(name_or_path=".", revision=None, source="random", sha256=digests))
