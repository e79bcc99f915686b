"""What all questions about a picture begin with, the system text and the picture, read once for all of them.

Of the 2,500 tokens of one of the paper's questions some 2,400 are the picture's. A batch of pictures goes through the
vision tower and the language model once. Its questions follow in rounds, one for each picture, behind the keys and
values of that reading. What a round has added to these is cut off again, so they are never in memory twice: they take
2 GB for a picture at 13 billion parameters in bfloat16.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import BatchEncoding, BatchFeature


class Prompts(NamedTuple):
    """Hold the prompts of a batch of pictures on the CPU, cut behind the picture and padded on the left.

    ``prefixes``: ``input_ids`` and ``attention_mask`` (pictures, tokens) up to the last of the image's placeholders,
    of which there is one for each feature; ``pixel_values`` (pictures, tiles, 3, side, side), the base view first;
    ``image_sizes`` (pictures, 2), height and width in pixels.
    ``rounds``: ``input_ids`` and ``attention_mask`` (pictures, tokens) of the rest of each picture's prompt.
    """

    prefixes: BatchFeature
    rounds: list[BatchEncoding]


def encode_rounds(processor: Any, images: list[Image.Image], rounds: Sequence[Sequence[str]]) -> Prompts:
    """Turn pictures and rendered prompts, in each round one for each picture, into tensors.

    A prefix and the rest behind it are the token ids of the whole prompt; all prompts of a picture begin alike.
    """
    # 1. Picture and text before it. The placeholder parts a text for the tokenizer, so no token reaches across the cut.
    before = [prompt[: prompt.rindex(processor.image_token)] + processor.image_token for prompt in rounds[0]]
    options = {"add_special_tokens": False, "return_tensors": "pt"}  # the template writes the begin token
    prefixes = processor(images=images, text=before, padding=True, **options)
    # 2. The rest, cut from the whole prompt's ids, because some tokenizers put a space before the beginning of a text.
    behind = []
    for prompts in rounds:
        whole = processor.tokenizer(list(prompts), add_special_tokens=False).input_ids
        rest = [ids[len(ids) - ids[::-1].index(processor.image_token_id) :] for ids in whole]
        behind.append(processor.tokenizer.pad({"input_ids": rest}, return_tensors="pt"))
    return Prompts(prefixes, behind)


def ask_rounds(model: Any, prompts: Prompts) -> Iterator[BatchFeature]:
    """Read the pictures, then yield each round as what the model is called with to go on from there.

    ``input_ids`` and ``attention_mask`` (pictures, tokens) of the whole prompts, with padding before the prefix and
    between it and the rest; ``past_key_values``, filled for the prefixes. All rounds have these in common, so be done
    with a round before taking the next.
    """
    # 1. The prefixes; padding takes up no position.
    prefixes = prompts.prefixes.to(model.device, dtype=model.dtype)  # pixels alone are floating-point numbers
    ids, attention = prefixes["input_ids"], prefixes["attention_mask"]
    positions = (attention.cumsum(1) - 1).clamp(min=0)
    with torch.inference_mode():
        read = model(**prefixes, position_ids=positions, use_cache=True, logits_to_keep=1)
    # 2. Keys and values of each layer (pictures, heads, tokens, head's width).
    cache = read.past_key_values
    for rest in prompts.rounds:
        rest = rest.to(model.device)
        whole = {
            "input_ids": torch.cat([ids, rest["input_ids"]], dim=1),
            "attention_mask": torch.cat([attention, rest["attention_mask"]], dim=1),
        }
        yield BatchFeature(whole | {"past_key_values": cache})
        # 3. Forget the question and what was said to it; a negative number is how many tokens to take off the end.
        cache.crop(ids.shape[1] - cache.get_seq_length())
