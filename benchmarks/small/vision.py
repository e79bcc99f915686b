"""The vision side of the small model: tower and projector learn to write a picture's report into its image tokens.

LLaVA's projector learns from captions, through the language model, from 600,000 photos. Here each image token of a
picture is one word of a report of where its boxes are (``report.py``), and the projector learns that word's embedding
straight away: the language model, nine times the tower's size, need not be run. The tower's lower layers stay as they
came and are computed once for each view; its upper ones learn to gather at every patch what all patches see, helped by
a head, thrown away afterwards, which reads all values of the report off each patch.
"""

from typing import Any, NamedTuple

import numpy as np
import report
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlavaNextForConditionalGeneration, LlavaNextProcessor, get_cosine_schedule_with_warmup

from vsd_utils.common.progress import steps
from vsd_utils.miniature.model.pictures import Pictures, Views

FROZEN_LAYERS = 4  # a small network on what they see finds a box's edges to 4 % of the tile
_NEAREST = 4.0  # how sharply a word's distance counts


class Training(NamedTuple):
    """Say how long the vision side learns: so many views made, so many steps over them, of so many each."""

    views: int
    steps: int
    batch: int
    learning_rate: float


class _Seen(NamedTuple):
    """Hold views (n) as the lower layers see them, with their reports as values and as numbers of words."""

    features: torch.Tensor  # (n, 1 + patches, width), bfloat16
    values: torch.Tensor  # (n, 16)
    words: torch.Tensor  # (n, report.LENGTH)


class _Words:
    """The words of reports: their embeddings (words, width) in the language model, and how near a token is to each."""

    def __init__(self, model: LlavaNextForConditionalGeneration, processor: LlavaNextProcessor) -> None:
        names = [*report.NAMES, *map(str, range(report.DIGITS))]
        ids = processor.tokenizer(names, add_special_tokens=False)["input_ids"]
        assert all(len(one) == 1 for one in ids), "a report's word is one token"
        self.number = {name: number for number, name in enumerate(names)}
        self.embeddings = model.get_input_embeddings().weight.detach()[[one[0] for one in ids]].float()
        digits = self.embeddings[len(report.NAMES) :]
        self.scale = torch.pdist(digits).pow(2).mean()

    def distances(self, tokens: torch.Tensor) -> torch.Tensor:
        """Compute squared distances (..., words) in units of that between two digits."""
        return torch.cdist(tokens, self.embeddings).pow(2) / self.scale


def teach_vision(
    model: LlavaNextForConditionalGeneration,
    processor: LlavaNextProcessor,
    pictures: Pictures,
    training: Training,
    seed: int,
) -> dict[str, float]:
    """Train the tower's upper layers and the projector in place.

    Returns, over the last tenth of the steps, ``edge_error`` (mean distance of a box's edge as read off a single patch,
    tile = 1) and ``digits`` (how many of the reports' digits are nearest to the right word, 0 to 100).
    """
    torch.manual_seed(seed)
    tower, projector = model.model.vision_tower, model.model.multi_modal_projector
    layers = tower.encoder.layer
    vocabulary = _Words(model, processor)
    # 1. All views through the lower layers, once.
    tile, patch = model.config.vision_config.image_size, model.config.vision_config.patch_size
    seen = _look(model, processor, vocabulary, Views(pictures, training.views, tile, patch))
    # 2. The upper layers up to the one that is read, the projector, and the head on each patch.
    upper = layers[FROZEN_LAYERS : len(layers) + 1 + model.config.vision_feature_layer]
    head = nn.Linear(tower.config.hidden_size, seen.values.shape[1])
    known, new = list(upper.parameters()), [*projector.parameters(), *head.parameters()]
    rate = training.learning_rate
    groups: list[dict[str, Any]] = [{"params": known, "lr": rate}, {"params": new, "lr": 4 * rate}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    schedule = get_cosine_schedule_with_warmup(optimizer, training.steps // 20 + 1, training.steps)
    edge_errors, digit_hits = [], []
    for number in steps(range(training.steps), "vision side", training.steps):
        chosen = torch.randint(len(seen.words), (training.batch,))
        features, told, words = seen.features[chosen].float(), seen.values[chosen], seen.words[chosen]
        # 3. Forward: (batch, 1 + patches, width) -> every patch's reading of all values, and its image token.
        for layer in upper:
            features = layer(features)
        features = features[:, 1:]
        read, tokens = head(features), projector(features)[:, : report.LENGTH]
        distances = vocabulary.distances(tokens)  # (batch, report.LENGTH, words)
        right = distances.gather(2, words[:, :, None]).mean()
        loss = (
            3 * nn.functional.l1_loss(read, told[:, None].expand_as(read))
            + nn.functional.cross_entropy(-_NEAREST * distances.flatten(0, 1), words.flatten())
            + 0.3 * right
        )
        # 4. Backward and one step.
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*known, *new], 1.0)
        optimizer.step()
        schedule.step()
        # 5. How well it did on this batch.
        if number >= training.steps - max(1, training.steps // 10):
            edge_errors.append((read - told[:, None])[:, :, :8].abs().mean().item() / 2)
            digits = words >= len(report.NAMES)
            digit_hits.append((distances.argmin(2) == words)[digits].float().mean().item())
    return {"edge_error": round(float(np.mean(edge_errors)), 4), "digits": round(100 * float(np.mean(digit_hits)), 1)}


@torch.no_grad()
def _look(
    model: LlavaNextForConditionalGeneration, processor: LlavaNextProcessor, vocabulary: _Words, views: Views
) -> _Seen:
    tower = model.model.vision_tower
    mean, std = (
        torch.tensor(getattr(processor.image_processor, name)).view(3, 1, 1) for name in ("image_mean", "image_std")
    )
    features, told, words = [], [], []
    for batch in steps(DataLoader(views, 32), "views", -(-len(views) // 32)):
        # 1. Pixels as the processor normalises them, from -1..1, through the lower layers.
        hidden = tower.embeddings(((batch["pixels"] + 1) / 2 - mean) / std)
        for layer in tower.encoder.layer[:FROZEN_LAYERS]:
            hidden = layer(hidden)
        features.append(hidden.to(torch.bfloat16))
        # 2. The reports of their boxes.
        of_batch = [report.values(boxes) for boxes in batch["boxes"].numpy()]
        told += of_batch
        words += [[vocabulary.number[word] for word in report.words(of_view)] for of_view in of_batch]
    return _Seen(torch.cat(features), torch.from_numpy(np.stack(told)), torch.tensor(words))
