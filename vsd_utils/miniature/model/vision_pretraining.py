"""The tiny vision tower's schooling: find the two drawn boxes and tell which of the two things hides the other.

LLaVA starts from a CLIP tower that has seen 400 million captioned photos. This tower has to make do with some ten
thousand pictures, and learns from them only what the task needs to see. Its heads are thrown away afterwards.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlavaNextForConditionalGeneration, get_cosine_schedule_with_warmup

from vsd_utils.common.params import Tiny
from vsd_utils.common.progress import steps
from vsd_utils.miniature.model.architecture import FEATURE_LAYER
from vsd_utils.miniature.model.pictures import Pictures, Views


class Heads(nn.Module):
    """What is asked of the tower's features: boxes and order from all patches, coverage from each."""

    def __init__(self, width: int, patches: int) -> None:
        """``width`` of a patch's features, number of ``patches``."""
        super().__init__()
        self.squeeze = nn.Linear(width, 16)
        self.whole = nn.Sequential(nn.Linear(16 * patches, 128), nn.GELU(), nn.Linear(128, 8 + 3))
        self.each = nn.Linear(width, 2)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(batch, patches, width) -> boxes (batch, 2, 4), order (batch, 3), coverage logits (batch, 2, patches)."""
        whole = self.whole(self.squeeze(features).flatten(1))
        return whole[:, :8].view(-1, 2, 4), whole[:, 8:], self.each(features).transpose(1, 2)


def train_tower(
    model: LlavaNextForConditionalGeneration, pictures: Pictures, size: Tiny, seed: int
) -> dict[str, float]:
    """Train the tower in place; returns the last tenth's mean box error (tile = 1) and order accuracy (0 to 100)."""
    torch.manual_seed(seed)
    tower = model.model.vision_tower.train()
    heads = Heads(size.width, (size.tile // size.patch) ** 2)
    views = Views(pictures, size.vision_steps * size.vision_batch, size.tile, size.patch)
    # One worker draws while this process trains; the order stays the same.
    loader = DataLoader(views, size.vision_batch, num_workers=1, prefetch_factor=8)
    weights = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=size.vision_learning_rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, size.vision_steps // 20 + 1, size.vision_steps)
    box_errors, order_hits = [], []
    for batch in steps(loader, "vision tower", size.vision_steps):
        features = tower(batch["pixels"], output_hidden_states=True).hidden_states[FEATURE_LAYER][:, 1:]
        boxes, order, coverage = heads(features)
        loss = (
            5 * nn.functional.l1_loss(boxes, batch["boxes"])
            + nn.functional.binary_cross_entropy_with_logits(coverage, batch["coverage"])
            + nn.functional.cross_entropy(order, batch["front"])
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        box_errors.append((boxes - batch["boxes"]).abs().mean().item())
        order_hits.append((order.argmax(1) == batch["front"]).float().mean().item())
    tower.eval()
    last = -max(1, size.vision_steps // 10)
    return {
        "box_error": round(sum(box_errors[last:]) / -last, 4),
        "order_accuracy": round(100 * sum(order_hits[last:]) / -last, 1),
    }
