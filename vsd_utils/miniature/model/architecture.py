"""A LLaVA-NeXT small enough to be trained from scratch on a laptop: real model and processor classes, few weights.

A CLIP vision tower, the two-layer projector and a Llama, as ``LlavaNextForConditionalGeneration`` puts them together.
At the default size: 48 x 48 pixel tiles of 4 x 4 patches, one tile beside the base view, about 30 image tokens and 1.7
million parameters.
"""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlamaModel,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from vsd_utils.common.params import Tiny
from vsd_utils.data.prompts import CHAT_TEMPLATE, IMAGE

SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
FEATURE_LAYER = -2  # as in LLaVA: the last layer but one


def make_tokenizer(texts: Iterable[str], tokens: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of ``tokens`` entries, learned from ``texts``; no text is out of its vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=tokens,
        special_tokens=[*SPECIAL.values(), IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **SPECIAL,
        extra_special_tokens={"image_token": IMAGE},
        padding_side="left",
        model_max_length=4096,
    )


def make_processor(tokenizer: PreTrainedTokenizerFast, size: Tiny) -> LlavaNextProcessor:
    """LLaVA-NeXT's processor: one base view and one tile, both ``size.tile`` pixels wide and high."""
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": size.tile},
        crop_size={"height": size.tile, "width": size.tile},
        image_grid_pinpoints=[[size.tile, size.tile]],
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=size.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, size: Tiny, seed: int) -> LlavaNextForConditionalGeneration:
    """The model with random weights, in float32."""
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.layers + 1,
        num_attention_heads=size.heads,
        image_size=size.tile,
        patch_size=size.patch,
        projection_dim=size.width,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        initializer_range=size.width**-0.5,  # the usual 0.02 suits widths in the thousands
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=[[size.tile, size.tile]],
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    model = LlavaNextForConditionalGeneration(config)
    _spread_positions(model)
    _pass_tokens_on(model)
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def _spread_positions(model: LlavaNextForConditionalGeneration) -> None:
    """Start the vision tower's position embeddings from two-dimensional waves, and all its linear maps at fan-in scale.

    From the library's small random start such a small tower stays at chance for far longer than the run lasts.
    """
    tower = model.model.vision_tower
    table = tower.embeddings.position_embedding.weight
    side = int((table.shape[0] - 1) ** 0.5)
    width = table.shape[1]
    frequencies = torch.pow(10.0, -torch.arange(width // 4) / (width // 4))
    angles = torch.arange(side)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    grid = torch.cat(
        [waves[:, None, :].expand(side, side, -1), waves[None, :, :].expand(side, side, -1)], dim=2
    ).reshape(side * side, width)
    with torch.no_grad():
        table[1:] = grid
        for module in tower.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
            elif isinstance(module, torch.nn.Conv2d):
                torch.nn.init.normal_(module.weight, std=(module.weight[0].numel()) ** -0.5)


def _pass_tokens_on(model: LlavaNextForConditionalGeneration) -> None:
    """Start the language model so that what a head looks at is what the model says: copying is a matter of looking.

    A token's embedding outweighs what the layers add to it, values and outputs of attention are the identity, and the
    output weights are the embedding's. Half of the first layer's heads look at the token before, as copying a name of
    several tokens needs (Olsson et al. 2022, arXiv 2209.11895). From the usual random start the model does not find
    out within these few steps that it may copy from the question, and writes the commonest names; from this one it
    copies names that it has never seen.
    """
    language = model.model.language_model
    with torch.no_grad():
        torch.nn.init.normal_(language.embed_tokens.weight)
        model.lm_head.weight.copy_(0.1 * language.embed_tokens.weight)
        for layer in language.layers:
            torch.nn.init.eye_(layer.self_attn.v_proj.weight)
            torch.nn.init.eye_(layer.self_attn.o_proj.weight)
            layer.self_attn.o_proj.weight *= 3
            layer.mlp.down_proj.weight *= 0.1
        _look_back(language)


def _look_back(language: LlamaModel) -> None:
    """Let half of the first layer's heads look at the token before, and write what it is apart from the token's own.

    Their queries and keys read one feature that all tokens share, so the score depends on the distance alone: with
    the query turned back by one position, rotary embeddings make it largest there.
    """
    attention, width = language.layers[0].self_attn, language.config.hidden_size
    size = language.config.head_dim
    shared, sharpness, waves = 4.0, 8.0, min(4, size // 2)  # the shortest waves tell neighbours apart best
    heads = language.config.num_attention_heads // 2
    language.embed_tokens.weight[:, 0] = shared
    normed = shared / ((width - 1 + shared**2) / width) ** 0.5  # what the layer's norm leaves of the shared feature
    key, query = torch.zeros(size), torch.zeros(size)
    angles = language.rotary_emb.inv_freq[:waves]
    key[:waves] = sharpness
    query[:waves], query[size // 2 : size // 2 + waves] = sharpness * angles.cos(), -sharpness * angles.sin()
    for maps, direction in ((attention.q_proj, query), (attention.k_proj, key)):
        maps.weight[: heads * size] = 0
        maps.weight[: heads * size, 0] = direction.repeat(heads) / normed
    for weights in (attention.v_proj.weight[: heads * size], attention.o_proj.weight[:, : heads * size]):
        torch.nn.init.orthogonal_(weights)
    attention.v_proj.weight[: heads * size, 0] = 0
    attention.o_proj.weight[:, : heads * size] *= 2
