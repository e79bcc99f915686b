"""A LLaVA-NeXT small enough to be trained from scratch on a laptop: the real classes, few weights.

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

from vsd_utils.common.sections import Tiny
from vsd_utils.data.prompts import CHAT_TEMPLATE, IMAGE

SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
FEATURE_LAYER = -2  # as in LLaVA: the last layer but one


def make_tokenizer(texts: Iterable[str], tokens: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer of ``tokens`` entries on ``texts``; no text is out of its vocabulary."""
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


def make_processor(tokenizer: PreTrainedTokenizerFast, tiny: Tiny) -> LlavaNextProcessor:
    """Make LLaVA-NeXT's processor: one base view and one tile, both ``tiny.tile`` pixels wide and high."""
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": tiny.tile},
        crop_size={"height": tiny.tile, "width": tiny.tile},
        image_grid_pinpoints=[[tiny.tile, tiny.tile]],
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=tiny.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(tokenizer: PreTrainedTokenizerFast, tiny: Tiny, seed: int) -> LlavaNextForConditionalGeneration:
    """Make the model with random weights, in float32.

    With t = ``tiny.tile``, p = ``tiny.patch`` and w = ``tiny.width``: pixels (views, 3, t, t) in -1..1 become features
    (views, (t / p)^2, w) of the tower, these image tokens (views, (t / p)^2, w) of the language model.
    """
    torch.manual_seed(seed)
    # 1. The three parts: CLIP tower, Llama, and the two-layer projector that LLaVA-NeXT puts between them.
    vision = CLIPVisionConfig(
        hidden_size=tiny.width,
        intermediate_size=4 * tiny.width,
        num_hidden_layers=tiny.layers + 1,
        num_attention_heads=tiny.heads,
        image_size=tiny.tile,
        patch_size=tiny.patch,
        projection_dim=tiny.width,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=tiny.width,
        intermediate_size=3 * tiny.width,
        num_hidden_layers=tiny.layers,
        num_attention_heads=tiny.heads,
        num_key_value_heads=tiny.heads,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        initializer_range=tiny.width**-0.5,  # the usual 0.02 suits widths in the thousands
    )
    config = LlavaNextConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=[[tiny.tile, tiny.tile]],
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    model = LlavaNextForConditionalGeneration(config)
    # 2. A start from which so small a model learns within minutes.
    _spread_positions(model)
    _pass_tokens_on(model)
    # 3. What generation begins, ends and fills up with.
    model.generation_config.update(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model


def _spread_positions(model: LlavaNextForConditionalGeneration) -> None:
    """Start the vision tower's positions from two-dimensional waves, and all its linear maps at fan-in scale.

    The waves are the sines and cosines of Vaswani et al. 2017 (arXiv 1706.03762), half of the width for the row, half
    for the column. From the library's small random start so small a tower stays at chance for far longer than the run
    lasts.
    """
    tower = model.model.vision_tower
    positions = tower.embeddings.position_embedding.weight  # (1 + side^2, width): class token, then patches by rows
    side = int((positions.shape[0] - 1) ** 0.5)
    width = positions.shape[1]
    # 1. Waves along one axis, (side, width / 2).
    frequencies = torch.pow(10.0, -torch.arange(width // 4) / (width // 4))  # (width / 4,)
    angles = torch.arange(side)[:, None] * frequencies  # (side, width / 4)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    # 2. The row's waves beside the column's, (side, side, width), one patch after the other.
    row_waves, column_waves = waves[:, None, :].expand(side, side, -1), waves[None, :, :].expand(side, side, -1)
    grid = torch.cat([row_waves, column_waves], dim=2).reshape(side * side, width)
    with torch.no_grad():
        positions[1:] = grid
        # 3. Linear maps at fan-in scale.
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
        # 1. Embeddings of unit variance, (tokens, width), and the same for the output, scaled so that it is unsure.
        torch.nn.init.normal_(language.embed_tokens.weight)
        model.lm_head.weight.copy_(0.1 * language.embed_tokens.weight)
        # 2. Layers that pass on what their heads look at, each map (width, width), and add little of their own.
        for layer in language.layers:
            torch.nn.init.eye_(layer.self_attn.v_proj.weight)
            torch.nn.init.eye_(layer.self_attn.o_proj.weight)
            layer.self_attn.o_proj.weight *= 3
            layer.mlp.down_proj.weight *= 0.1
        # 3. Heads that look at the token before.
        _look_back(language)


def _look_back(language: LlamaModel) -> None:
    """Let half of the first layer's heads look at the token before, and write what it is apart from the token's own.

    Their queries and keys read one feature that all tokens share, so the score depends on the distance alone: with
    the query turned back by one position, rotary embeddings make it largest there.
    """
    attention, width = language.layers[0].self_attn, language.config.hidden_size
    head_size = language.config.head_dim
    shared, sharpness, waves = 4.0, 8.0, min(4, head_size // 2)  # the shortest waves tell neighbours apart best
    rows = head_size * (language.config.num_attention_heads // 2)  # of the maps (width, width): the first half's heads
    # 1. Feature 0 is the same for every token; the layer's norm leaves ``normed`` of it.
    language.embed_tokens.weight[:, 0] = shared
    normed = shared / ((width - 1 + shared**2) / width) ** 0.5
    # 2. A key (head_size,) and the query that is the key turned back by one position.
    key, query = torch.zeros(head_size), torch.zeros(head_size)
    angles = language.rotary_emb.inv_freq[:waves]
    key[:waves] = sharpness
    query[:waves], query[head_size // 2 : head_size // 2 + waves] = sharpness * angles.cos(), -sharpness * angles.sin()
    # 3. Both are read off feature 0 alone.
    for maps, direction in ((attention.q_proj, query), (attention.k_proj, key)):
        maps.weight[:rows] = 0
        maps.weight[:rows, 0] = direction.repeat(rows // head_size) / normed
    # 4. What is found there, (rows, width), is written in directions of its own, (width, rows), the shared feature not.
    for weights in (attention.v_proj.weight[:rows], attention.o_proj.weight[:, :rows]):
        torch.nn.init.orthogonal_(weights)
    attention.v_proj.weight[:rows, 0] = 0
    attention.o_proj.weight[:, :rows] *= 2
