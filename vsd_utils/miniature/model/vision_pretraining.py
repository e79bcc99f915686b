"""Pre-training of the tiny vision tower on the places of two boxes and on which thing hides the other.

LLaVA starts from a CLIP tower that has seen 400 million captioned photos. This tower sees some ten thousand pictures,
and learns from them only what the task needs. Its heads are thrown away afterwards.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import LlavaNextForConditionalGeneration, get_cosine_schedule_with_warmup

from vsd_utils.common.progress import steps
from vsd_utils.common.sections import Tiny
from vsd_utils.miniature.model.architecture import FEATURE_LAYER
from vsd_utils.miniature.model.pictures import Pictures, Views


class Heads(nn.Module):
    """Predict boxes and order from the features of all patches together, and coverage from each patch's own."""

    def __init__(self, width: int, patches: int) -> None:
        """Take the ``width`` of a patch's features and the number of ``patches``."""
        super().__init__()
        self.squeeze = nn.Linear(width, 16)
        self.whole = nn.Sequential(nn.Linear(16 * patches, 128), nn.GELU(), nn.Linear(128, 8 + 3))
        self.each = nn.Linear(width, 2)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map features (batch, patches, width) to boxes, order and coverage.

        Boxes are (batch, 2, 4), order's logits (batch, 3), coverage's logits (batch, 2, patches).
        """
        whole = self.whole(self.squeeze(features).flatten(1))
        return whole[:, :8].view(-1, 2, 4), whole[:, 8:], self.each(features).transpose(1, 2)


def train_tower(
    model: LlavaNextForConditionalGeneration, pictures: Pictures, tiny: Tiny, seed: int
) -> dict[str, float]:
    """Pre-train the tiny vision tower on box location and occlusion, in place.

    Returns, over the last tenth of the steps, ``box_error`` (mean distance of a box's edge, tile = 1) and
    ``order_accuracy`` (which thing hides the other, 0 to 100).
    """
    # 1. The tower, heads on it, and views of pictures as batches.
    torch.manual_seed(seed)
    tower = model.model.vision_tower.train()
    heads = Heads(tiny.width, (tiny.tile // tiny.patch) ** 2)
    views = Views(pictures, tiny.vision_steps * tiny.vision_batch, tiny.tile, tiny.patch)
    # One worker renders while this process trains; the order stays the same.
    loader = DataLoader(views, tiny.vision_batch, num_workers=1, prefetch_factor=8)
    # 2. AdamW with a cosine schedule, a twentieth of it warm-up.
    weights = [*tower.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=tiny.vision_learning_rate, weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, tiny.vision_steps // 20 + 1, tiny.vision_steps)
    box_errors, order_hits = [], []
    for batch in steps(loader, "vision tower", tiny.vision_steps):
        # 3. Forward: pixels (batch, 3, tile, tile) -> features (batch, patches, width), without the class token, from
        #    the layer that the language model will read.
        features = tower(batch["pixels"], output_hidden_states=True).hidden_states[FEATURE_LAYER][:, 1:]
        boxes, order, coverage = heads(features)  # (batch, 2, 4), (batch, 3), (batch, 2, patches)
        loss = (
            5 * nn.functional.l1_loss(boxes, batch["boxes"])
            + nn.functional.binary_cross_entropy_with_logits(coverage, batch["coverage"])
            + nn.functional.cross_entropy(order, batch["front"])
        )
        # 4. Backward and one step.
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        # 5. How well it did on this batch, which it had not seen before.
        box_errors.append((boxes - batch["boxes"]).abs().mean().item())
        order_hits.append((order.argmax(1) == batch["front"]).float().mean().item())
    tower.eval()
    last = -max(1, tiny.vision_steps // 10)
    return {
        "box_error": round(sum(box_errors[last:]) / -last, 4),
        "order_accuracy": round(100 * sum(order_hits[last:]) / -last, 1),
    }
