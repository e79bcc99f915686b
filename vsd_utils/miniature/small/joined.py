"""A LLaVA-NeXT put together from pretrained parts that packages carry: DINOv2 ViT-S/14 sees, SmolLM2-135M speaks.

Same classes as the paper's model, 16 + 1 + 135 million weights. Tiles of ``tile`` pixels: at 70 a picture is 25 tokens
of the base view and about as many of its one tile.
"""

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Dinov2Config,
    LlamaForCausalLM,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    PreTrainedTokenizerFast,
)
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from vsd_utils.common.errors import VsdError
from vsd_utils.data.prompts import CHAT_TEMPLATE, IMAGE
from vsd_utils.miniature.small import dinov2

FEATURE_LAYER = -2  # as in LLaVA: the last layer but one
PAD = "<|endoftext|>"  # SmolLM2's own is its end token, which an answer has to learn
_TOWER = "model.vision_tower."


def make_processor(language: Path, tile: int) -> LlavaNextProcessor:
    """Make LLaVA-NeXT's processor around the tokenizer in the folder ``language``: one base view and one tile."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        language, pad_token=PAD, padding_side="left", extra_special_tokens={"image_token": IMAGE}
    )
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": tile},
        crop_size={"height": tile, "width": tile},
        image_grid_pinpoints=[[tile, tile]],
        image_mean=[0.485, 0.456, 0.406],  # of ImageNet, as DINOv2 was trained
        image_std=[0.229, 0.224, 0.225],
    )
    return LlavaNextProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=dinov2.PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE,
        chat_template=CHAT_TEMPLATE,
    )


def make_model(
    language: Path, vision: dinov2.State, processor: LlavaNextProcessor, tile: int, seed: int
) -> LlavaNextForConditionalGeneration:
    """Put the parts together, in float32; the projector between them has random weights.

    ``language`` is the folder of the language model (``smollm.convert``), ``vision`` the tower (``dinov2.read``).
    Raises ``VsdError`` for a tile that no whole number of patches fills.
    """
    if tile % dinov2.PATCH:
        raise VsdError(f"a tile of {tile} pixels: the tower's patches have {dinov2.PATCH}; take a multiple of it")
    torch.manual_seed(seed)
    tokenizer = processor.tokenizer
    # 1. The language model, with a row more for the picture's placeholder.
    speaker: LlamaForCausalLM = AutoModelForCausalLM.from_pretrained(language, dtype=torch.float32)
    speaker.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    speaker.config.update(ids)
    # 2. The whole, of both configurations.
    tower = Dinov2Config(
        hidden_size=dinov2.WIDTH,
        num_attention_heads=dinov2.HEADS,
        num_hidden_layers=dinov2.LAYERS,
        image_size=tile,
        patch_size=dinov2.PATCH,
    )
    config = LlavaNextConfig(
        vision_config=tower,
        text_config=speaker.config,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_grid_pinpoints=[[tile, tile]],
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )
    model = LlavaNextForConditionalGeneration(config)
    # 3. The weights; the tower's under the names of this release of transformers.
    model.model.language_model.load_state_dict(speaker.model.state_dict())
    model.tie_weights()
    _fill_tower(model, vision, tile)
    model.generation_config.update(**ids)
    return model


def _fill_tower(model: LlavaNextForConditionalGeneration, vision: dinov2.State, tile: int) -> None:
    """Load the tower's weights, its positions brought to the tile's size."""
    state = {name: torch.from_numpy(weight.copy()) for name, weight in vision.items()}
    state["embeddings.position_embeddings"] = torch.from_numpy(dinov2.positions_for(vision, tile))
    wanted = model.model.vision_tower.state_dict()
    missing = wanted.keys() - state.keys()
    if missing or state.keys() - wanted.keys():
        raise VsdError(f"the tower's weights do not fit: missing {sorted(missing)[:3]}")
    model.model.vision_tower.load_state_dict(state)
