"""How many tokens the conversations take: text by the base model's tokenizer, images by LLaVA-NeXT's tiling.

No torch here: the tokenizer and the processor's numbers are read from the files in ``models/base``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json
from vsd_utils.common.paths import BASE_MODEL
from vsd_utils.data.conversations import Conversation
from vsd_utils.data.prompts import SYSTEM_PROMPTS
from vsd_utils.data.samples import Sample


def measure(
    split_samples: Mapping[str, Sequence[Sample]],
    conversations: Mapping[str, Sequence[Conversation]],
    system_prompt: str,
    base: Path = BASE_MODEL,
) -> dict[str, Any]:
    """Count tokens of each conversation: of question and answer, by task, and of its image.

    Returns ``{"text": {"1": [...], "2": [...], "3": [...]}, "image": [...]}``, a number a conversation.
    """
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tiling = _tiling(base)
    sizes = {sample.id: sample.size for rows in split_samples.values() for sample in rows}
    frame = f"{SYSTEM_PROMPTS[system_prompt]} USER: \n ASSISTANT: "
    text: dict[str, list[int]] = {"1": [], "2": [], "3": []}
    image: list[int] = []
    rows = [row for split in conversations.values() for row in split]
    encoded = tokenizer.encode_batch([f"{frame}{row.question}{row.answer}" for row in rows], add_special_tokens=False)
    counts = {size: image_tokens(size, **tiling) for size in set(sizes.values())}
    for row, tokens in zip(rows, encoded, strict=True):
        text[str(row.task)].append(len(tokens.ids) + 2)  # begin and end token
        image.append(counts[sizes[row.id.rsplit("#", 1)[0]]])
    return {"text": text, "image": image}


def summary(measured: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Summarise each group that has any: mean, median, 99th percentile and maximum."""
    groups = {f"text, task {task}": values for task, values in measured["text"].items()}
    groups["image"] = measured["image"]
    return {
        name: {
            "mean": round(float(np.mean(values)), 1),
            "median": float(np.median(values)),
            "p99": float(np.percentile(values, 99)),
            "maximum": float(max(values)),
        }
        for name, values in groups.items()
        if values
    }


# transformers counts them too, but only in ``_get_num_multimodal_tokens``, which is private, made for vLLM and, as its
# result says of itself, may change; without it a picture of each size would have to be made and tiled.
def image_tokens(size: tuple[int, int], tile: int, patch: int, grids: Sequence[Sequence[int]]) -> int:
    """Count the image tokens that LLaVA-NeXT makes of an image of ``size`` (width, height).

    The base view's patches, and those of the best fitting tile grid less its padding, with one line-break token a row
    (``LlavaNextProcessor``, which a test compares this with; strategy "default").
    """
    width, height = size
    grid_height, grid_width = best_grid(size, grids)
    side = tile // patch
    rows, columns = grid_height // tile * side, grid_width // tile * side
    if width / height > columns / rows:
        fitted = int(round(height * (columns / width), 7))
        rows -= (rows - fitted) // 2 * 2
    else:
        fitted = int(round(width * (rows / height), 7))
        columns -= (columns - fitted) // 2 * 2
    return side * side + rows * columns + rows


def best_grid(size: tuple[int, int], grids: Sequence[Sequence[int]]) -> tuple[int, int]:
    """Choose the tile grid (height, width in pixels) that LLaVA-NeXT brings an image of ``size`` into."""
    width, height = size
    grid_height, grid_width = max(grids, key=lambda grid: _fit(width, height, grid[1], grid[0]))
    return grid_height, grid_width


def _fit(width: int, height: int, grid_width: int, grid_height: int) -> tuple[int, int]:
    scale = min(grid_width / width, grid_height / height)
    used = min(int(width * scale) * int(height * scale), width * height)
    return used, -(grid_width * grid_height - used)


def _tiling(base: Path) -> dict[str, Any]:
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (base / name).is_file():
            content = read_json(base / name)
            images = content.get("image_processor", content)
            crop = images.get("crop_size", images.get("size"))
            tile = crop["height"] if isinstance(crop, dict) and "height" in crop else crop["shortest_edge"]
            if "image_grid_pinpoints" in images:
                patch = content.get("patch_size") or read_json(base / "config.json")["vision_config"]["patch_size"]
                return {"tile": tile, "patch": patch, "grids": images["image_grid_pinpoints"]}
    raise VsdError(f"{base}: no processor_config.json with image_grid_pinpoints. Is the base model a LLaVA-NeXT?")
