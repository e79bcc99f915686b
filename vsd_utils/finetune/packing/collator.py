"""A pack of pictures and conversations as one row of tensors, without a token of padding.

    prefix of picture 1 | branch | branch | branch | prefix of picture 2 | branch | ...

A picture's *prefix* is what all prompts about it begin with, up to its last image token: begin token, system prompt,
image. A *branch* is the rest of a prompt and its completion. The tokens are those that TRL's own collator makes of the
conversations one by one, and so are their positions: each branch goes on where the prefix ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from trl.data_utils import apply_chat_template, prepare_multimodal_messages

from vsd_utils.common.errors import VsdError
from vsd_utils.finetune.packing.attention import branch_mask

_IGNORED = -100  # label of a token that the loss is not on


class Branch(NamedTuple):
    """The tokens of a conversation behind its picture, and their labels; the prompt's are ignored by the loss."""

    ids: list[int]
    labels: list[int]


class SharedImageCollator:
    """Makes the batch that a model with ``attention.use_shared_image_attention`` is trained on."""

    def __init__(self, processor: Any) -> None:
        """Take a processor that writes one image token for each feature of a picture, as LLaVA-NeXT's does."""
        self.processor = processor

    def __call__(self, packs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Turn packs (``rows.pack_rows``) into one row.

        ``input_ids``, ``attention_mask`` (all ones), ``position_ids`` and ``labels`` are (1, tokens); ``pixel_values``
        (pictures, tiles, 3, side, side) and ``image_sizes`` (pictures, 2) are the processor's; ``branch_masks`` has a
        mask for each picture (``attention.branch_mask``). Raises ``VsdError`` where prompts about a picture do not
        begin alike.
        """
        # 1. Each picture once: its tiles, and how many tokens it takes.
        images = [image for pack in packs for image in pack["images"]]
        looked_at = self.processor(
            images=images,
            text=[self.processor.image_token] * len(images),
            add_special_tokens=False,
            padding=True,
            return_tensors="pt",
        )
        image_tokens = (looked_at["input_ids"] == self.processor.image_token_id).sum(1).tolist()
        # 2. Prefix and branches of each picture, one after another.
        ids: list[int] = []
        labels: list[int] = []
        positions: list[int] = []
        masks: list[torch.Tensor] = []
        conversations = [of_picture for pack in packs for of_picture in pack["conversations"]]
        for of_picture, image, count in zip(conversations, images, image_tokens, strict=True):
            prefix, branches = self._parts(of_picture, image, count)
            ids += prefix
            labels += [_IGNORED] * len(prefix)
            positions += range(len(prefix))
            for branch in branches:
                ids += branch.ids
                labels += branch.labels
                positions += range(len(prefix), len(prefix) + len(branch.ids))
            masks.append(branch_mask(len(prefix), [len(branch.ids) for branch in branches]))
        # 3. As tensors.
        row = {"input_ids": ids, "labels": labels, "position_ids": positions, "attention_mask": [1] * len(ids)}
        pixels = {name: looked_at[name] for name in ("pixel_values", "image_sizes")}
        return {
            **{name: torch.tensor([values]) for name, values in row.items()},
            **pixels,
            "branch_masks": tuple(masks),
        }

    def _parts(
        self, conversations: Sequence[Mapping[str, Any]], image: Any, count: int
    ) -> tuple[list[int], list[Branch]]:
        """Cut the conversations about a picture of ``count`` image tokens into their prefix and their branches."""
        # 1. Prompts and completions as TRL renders them, each tokenized by itself.
        rendered = [
            apply_chat_template(
                {
                    "prompt": prepare_multimodal_messages(conversation["prompt"], images=[image]),
                    "completion": prepare_multimodal_messages(conversation["completion"]),
                },
                self.processor,
            )
            for conversation in conversations
        ]
        prompts, completions = (
            self.processor.tokenizer([one[part] for one in rendered], add_special_tokens=False)["input_ids"]
            for part in ("prompt", "completion")
        )
        # 2. All prompts have to be the same up to the picture, which stands there once.
        picture = self.processor.image_token_id
        if any(prompt.count(picture) != 1 for prompt in prompts):
            raise VsdError(f"a packed prompt has one picture; found one with another number: {rendered[0]['prompt']!r}")
        prefixes = [prompt[: prompt.index(picture)] for prompt in prompts]
        if any(prefix != prefixes[0] for prefix in prefixes):
            raise VsdError(
                f"the prompts about a picture differ before it, so it cannot be read once for all: "
                f"{self.processor.tokenizer.decode(prefixes[0])!r} and another. Put what differs behind the picture, "
                "or set finetune.packing=none."
            )
        # 3. What stands behind it.
        questions = [prompt[prompt.index(picture) + 1 :] for prompt in prompts]
        branches = [
            Branch(question + answer, [_IGNORED] * len(question) + answer)
            for question, answer in zip(questions, completions, strict=True)
        ]
        return prefixes[0] + [picture] * count, branches
