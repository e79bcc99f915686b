"""What the loss is a mean of: TRL's mean over the tokens of all answers, or a mean over answers.

A task 1 answer has two or three tokens and a task 3 answer forty. A mean over tokens gives naming the relation a
twentieth of the loss, a mean over answers a third. InternVL 2.5 calls the two
token and sample averaging (arXiv 2412.05271, section 3.3) and weighs by neither alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from trl import SFTTrainer


class SampleMeanTrainer(SFTTrainer):
    """TRL's trainer with the mean over answers: each answer of a batch counts alike, whatever its length.

    Of several batches in a step, by gradient accumulation or processes, each has the weight of its tokens.
    """

    def compute_loss(
        self,
        model: Callable[..., Any],
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Compute TRL's loss of log-probabilities that are weighted by ``answer_weights``."""

        def weighted(**named: Any) -> Any:
            outputs = model(**named)
            if named.get("fused_lm_head"):  # else a plain forward pass
                outputs.log_probs = outputs.log_probs * answer_weights(outputs.label_mask)
            return outputs

        return super().compute_loss(weighted, inputs, return_outputs, num_items_in_batch)


def answer_weights(in_loss: torch.Tensor) -> torch.Tensor:
    """Weigh tokens so that all answers count alike: float32 of the shape of ``in_loss``, with mean 1 where it is true.

    ``in_loss`` (rows, tokens) is true for the tokens of answers. An answer is a run of them: between two answers of a
    row there is always a question.
    """
    # 1. Number the runs, row by row: (rows, tokens), meaningless between them.
    begins = in_loss.clone()
    begins[:, 1:] &= ~in_loss[:, :-1]
    number = begins.flatten().cumsum(0).view_as(in_loss) - 1
    # 2. The tokens of each run share one answer's weight; the mean over all tokens is 1.
    lengths = torch.bincount(number[in_loss])
    each = in_loss.sum() / (lengths * max(1, len(lengths)))
    weights = torch.zeros_like(in_loss, dtype=torch.float32)
    weights[in_loss] = each[number[in_loss]].float()
    return weights
