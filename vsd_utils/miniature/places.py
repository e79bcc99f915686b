"""How well the tiny model still tells where things are, which it could before it was fine-tuned.

Its alignment taught it to say in which cells of a grid the two boxes stand (``model/language_pretraining.py``), and
fine-tuning on the three tasks never asks that again: what it forgets of it is what fine-tuning costs ("LoRA learns less
and forgets less", arXiv 2405.09673).
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import annotation_file
from vsd_utils.common.sections import Params
from vsd_utils.data.annotations import load_items
from vsd_utils.miniature.model.language_pretraining import FIRST_PICTURE, GRID, PLACES
from vsd_utils.miniature.model.pictures import Pictures
from vsd_utils.models import vision_language
from vsd_utils.models.answering import generate
from vsd_utils.models.loading import set_up_torch

ASKED = 128  # pictures, new to the model
NEAR = 1  # cells, of GRID
EDGES_RIGHT = (
    f"box edges told right: of {ASKED} new drawn pictures, the share of the two boxes' edges that the model tells to "
    f"within {NEAR} cell of {GRID}, as its alignment taught it and fine-tuning does not; an edge untold is wrong"
)
_BOX = re.compile(r"(\d+) to (\d+), (\d+) to (\d+)")
_AT_ONCE = 32
_NEW_TOKENS = 64  # the boxes come first in an answer, and what follows them is not scored


def edges_right(answer: str, boxes: np.ndarray) -> float:
    """Give the share (0..1) of the eight edges of ``boxes`` (2, 4), shares of the picture, that an answer tells."""
    told = [list(map(int, numbers)) for numbers in _BOX.findall(answer)[: len(boxes)]]
    cells = np.rint(boxes * GRID)
    right = [np.abs(np.array(edges) - true) <= NEAR for edges, true in zip(told, cells, strict=False)]
    return float(np.sum(right) / cells.size)


def tell_places(folder: Path, params: Params) -> dict[str, float | str]:
    """Measure the share of edges told right in per cent, by system: "base", and "lora" with the adapter.

    Beside them stands the "definition". ``folder`` is a run's, with ``models`` and ``data/annotations``. Raises
    ``VsdError`` for a model that was taught nothing of the kind.
    """
    tiny = params.base.tiny
    if params.base.source != "tiny" or tiny is None:
        raise VsdError(f"base.source {params.base.source!r}: only the tiny base model is taught to tell places")
    set_up_torch(params.threads, params.float32_matmul_precision)
    # 1. Pictures after the last that it was aligned with, and two names of the training data for each.
    items = load_items(annotation_file(1, "train", folder / "data" / "annotations"))
    names = sorted({name for item in items for triple in item.triple_list for name in (triple.s, triple.o)})
    pictures = Pictures(
        None if params.fetch.source == "scenes" else items,
        params.seed,
        params.convert.box_width,
        params.convert.canvas_margin,
    )
    shown = [pictures[FIRST_PICTURE + tiny.align_rows + number] for number in range(ASKED)]
    rng = np.random.default_rng((params.seed, ASKED))
    asked = [PLACES.format(s=s, o=o) for s, o in (rng.choice(names, size=2, replace=False) for _ in shown)]
    # 2. The base model's answers, then the adapter's.
    base = folder / "models" / "base"
    processor, dtype = vision_language.load_processor(base), params.describe.dtype
    model: Any = vision_language.load_model(dtype, params.describe.quantization, base).eval()

    def measured(model: Any) -> float:
        told: Sequence[str] = [
            answer
            for first in range(0, ASKED, _AT_ONCE)
            for answer in generate(
                model,
                processor,
                [one.image for one in shown[first : first + _AT_ONCE]],
                asked[first : first + _AT_ONCE],
                _NEW_TOKENS,
                "none",
            )
        ]
        return 100 * float(np.mean([edges_right(one, pic.boxes) for one, pic in zip(told, shown, strict=True)]))

    before = measured(model)
    after = measured(vision_language.load_adapter(model, folder / "models" / "adapter"))
    return {"definition": EDGES_RIGHT, "base": before, "lora": after}
