"""The vision side of the small model: tower and projector learn to tell the language model where the two boxes are.

LLaVA's projector learns from captions, through the language model, on 600,000 photos. Here it learns from drawn boxes
and straight away: every image token of a picture is to be one *code* of its geometry (``geometry.py``), a vector of the
size of a word's embedding with a direction for each value, so that one look at any of them tells the language model
where things are. The language model, nine times the tower's size, need not be run. The tower's lower layers stay as
they came and are computed once for each view; its upper ones learn to gather at every patch what all patches see.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor, get_cosine_schedule_with_warmup

from vsd_utils.common.progress import steps
from vsd_utils.common.sections import Small
from vsd_utils.miniature.model.pictures import Pictures, Views
from vsd_utils.miniature.small import geometry

FROZEN_LAYERS = 4  # a small network on what they see finds a box's edges to 4 % of the tile
NEW_WEIGHTS = 4  # times the learning rate of the weights that know something


class _Seen(NamedTuple):
    """Hold views (n) as the lower layers see them, with the values of their geometry."""

    features: torch.Tensor  # (n, 1 + patches, width), bfloat16
    values: torch.Tensor  # (n, values)


class Code:
    """The code of a geometry in the language model's embedding space, and how to read it back."""

    def __init__(self, embeddings: torch.Tensor, values: int, seed: int) -> None:
        """Take the language model's ``embeddings`` (tokens, width) and the number of ``values``."""
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randn(embeddings.shape[1], values + 1, generator=random)
        directions = torch.linalg.qr(drawn)[0].T * embeddings.norm(dim=1).mean() / 2  # (values + 1, width)
        self.centre, self.directions = directions[0], directions[1:]

    def write(self, values: torch.Tensor) -> torch.Tensor:
        """Write values (n, values) as vectors (n, width)."""
        return self.centre + values @ self.directions

    def read(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Read vectors (..., width): their values (..., values), and what else is in them, squared, in a value's."""
        squared = self.directions[0].square().sum()
        offset = vectors - self.centre
        values = offset @ self.directions.T / squared
        return values, (offset.square().sum(-1) / squared - values.square().sum(-1)).clamp(min=0)


def teach_vision(
    model: LlavaNextForConditionalGeneration,
    processor: LlavaNextProcessor,
    pictures: Pictures,
    small: Small,
    seed: int,
) -> dict[str, float]:
    """Train the tower's upper layers and the projector in place.

    Returns over the last tenth of the steps ``edge_error``, the mean distance of a box's edge as a single image token
    tells it (tile = 1), and ``comparison_error``, that of the other values (each in -1..1).
    """
    torch.manual_seed(seed)
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    code = Code(model.get_input_embeddings().weight.detach(), len(geometry.VALUES), seed)
    # 1. All views through the lower layers, once.
    tile, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size
    seen = _look(model, processor, Views(pictures, small.views, tile, patch))
    # 2. The upper layers up to the one that is read, and the projector.
    layers = tower.encoder.layer
    upper = layers[FROZEN_LAYERS : len(layers) + 1 + model.config.vision_feature_layer]
    known, new = list(upper.parameters()), list(projector.parameters())
    rate = small.vision_learning_rate
    groups: list[dict[str, Any]] = [{"params": known, "lr": rate}, {"params": new, "lr": NEW_WEIGHTS * rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    schedule = get_cosine_schedule_with_warmup(optimizer, small.vision_steps // 20 + 1, small.vision_steps)
    edge_errors, comparison_errors = [], []
    for number in steps(range(small.vision_steps), "vision side", small.vision_steps):
        chosen = torch.randint(len(seen.values), (small.vision_batch,))
        features, wanted = seen.features[chosen].float(), seen.values[chosen][:, None]
        # 3. Forward: (batch, 1 + patches, width) -> what each patch's image token tells, (batch, patches, values).
        for layer in upper:
            features = layer(features)
        told, rest = code.read(projector(features[:, 1:]))
        loss = nn.functional.l1_loss(told, wanted.expand_as(told)) + 0.1 * rest.mean()
        # 4. Backward and one step.
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*known, *new], 1.0)
        optimizer.step()
        schedule.step()
        # 5. How well it did on this batch.
        if number >= small.vision_steps - max(1, small.vision_steps // 10):
            errors = (told - wanted).abs().mean(dim=(0, 1))
            edge_errors.append(errors[: len(geometry.EDGES)].mean().item() / 2)
            comparison_errors.append(errors[len(geometry.EDGES) :].mean().item())
    # 6. The token that ends a row of patches tells nothing.
    with torch.no_grad():
        model.model.image_newline.copy_(code.centre)
    return {
        "edge_error": round(float(np.mean(edge_errors)), 4),
        "comparison_error": round(float(np.mean(comparison_errors)), 4),
    }


@torch.no_grad()
def _look(model: LlavaNextForConditionalGeneration, processor: LlavaNextProcessor, views: Views) -> _Seen:
    tower, batch_size = model.model.vision_tower, 32
    mean, std = (
        torch.tensor(getattr(processor.image_processor, name)).view(3, 1, 1) for name in ("image_mean", "image_std")
    )
    features, values = [], []
    # One worker draws while this process looks; the order stays the same.
    loader = DataLoader(views, batch_size, num_workers=1, prefetch_factor=8)
    for batch in steps(loader, "views", -(-len(views) // batch_size)):
        # 1. Pixels as the processor normalises them, from -1..1, through the lower layers.
        hidden = tower.embeddings(((batch["pixels"] + 1) / 2 - mean) / std)
        for layer in tower.encoder.layer[:FROZEN_LAYERS]:
            hidden = layer(hidden)
        features.append(hidden.to(torch.bfloat16))
        # 2. The geometry of their boxes.
        values += [geometry.values(boxes) for boxes in batch["boxes"].numpy()]
    return _Seen(torch.cat(features), torch.from_numpy(np.stack(values)))
