"""Pictures that the tiny base model learns from, with two boxes drawn on them, and where the boxes are.

Rendered scenes where the project renders its own data, else boxes of the training annotations, each pair put together
from two images, on an empty canvas. No relation label is ever read here.
"""

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from vsd_utils.data.annotations import Item
from vsd_utils.data.images import canvas_size, draw_boxes, empty_canvas
from vsd_utils.miniature.scenes.room import WIDTH
from vsd_utils.miniature.scenes.scene import compose, render

RENDER_SIZE = (96, 72)  # pixels; the model sees 48 of them


class Picture(NamedTuple):
    """Hold an RGB ``image`` and what is to be seen on it.

    ``boxes``: float32 (2, 4), subject's and object's [ymin, ymax, xmin, xmax] as shares of height and width (0 to 1).
    ``front``: 1 where the subject hides part of the object, 2 where the object hides part of the subject, else 0.
    """

    image: Image.Image
    boxes: np.ndarray
    front: int


class Pictures:
    """Make pictures by number, the same for the same seed: ``pictures[0]``, ``pictures[1]``, ... without an end."""

    def __init__(self, items: list[Item] | None, seed: int, box_width: float, canvas_margin: float) -> None:
        """Take ``items``, annotations to take boxes from, or None for rendered scenes.

        ``box_width`` and ``canvas_margin`` are those of ``data.images``, shares of the picture.
        """
        self.items, self.seed, self.box_width, self.canvas_margin = items, seed, box_width, canvas_margin

    def __getitem__(self, number: int) -> Picture:
        """Make the picture of that number, which may be any natural number."""
        return self._scene(number) if self.items is None else self._canvas(number)

    def _scene(self, number: int) -> Picture:
        scene = compose(self.seed, "base", number)
        image = render(scene, RENDER_SIZE)
        scale = RENDER_SIZE[0] / WIDTH
        boxes = [[round(edge * scale) for edge in box] for box in (scene.subject_bbox, scene.object_bbox)]
        return self._with_boxes(image, boxes, {None: 0, "subject": 1, "object": 2}[scene.front])

    def _canvas(self, number: int) -> Picture:
        assert self.items is not None
        rng = np.random.default_rng((self.seed, number))
        # Subject and object come from different images, so that their places say nothing about any relation.
        first, second = (self.items[index].triple_list[0] for index in rng.integers(len(self.items), size=2))
        boxes = np.array([first.s_bbox, second.o_bbox])  # (2, 4), pixels
        if rng.random() < 0.5:
            boxes = boxes[::-1]
        size = canvas_size(boxes.tolist(), self.canvas_margin)
        return self._with_boxes(empty_canvas(size), boxes.tolist(), 0)

    def _with_boxes(self, image: Image.Image, boxes: list[list[int]], front: int) -> Picture:
        height, width = image.height, image.width
        shares = np.array(boxes, dtype=np.float32) / np.array([height, height, width, width], np.float32)  # (2, 4)
        subject_bbox, object_bbox = boxes
        return Picture(draw_boxes(image, subject_bbox, object_bbox, self.box_width), shares, front)


class Views(Dataset[dict[str, torch.Tensor]]):
    """Show pictures as the vision tower sees them: the whole squeezed into a tile, or letterboxed into one, in turn.

    LLaVA-NeXT's base view is the one, its tiles are the other. A view: ``pixels`` (3, tile, tile) in -1..1, ``boxes``
    (2, 4) in 0..1 of the tile, ``coverage`` (2, patches) in 0..1, how much of each patch each box covers, ``front`` as
    in ``Picture``.
    """

    def __init__(self, pictures: Pictures, count: int, tile: int, patch: int) -> None:
        """Take the number of views and, in pixels, the side of a tile and of a patch."""
        self.pictures, self.count, self.tile, self.patch = pictures, count, tile, patch

    def __len__(self) -> int:
        """Count the views."""
        return self.count

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        """Make one view."""
        picture = self.pictures[number]
        image, boxes = picture.image, picture.boxes.copy()  # boxes (2, 4), shares of the picture
        # 1. The tile, and the boxes as shares of the tile.
        if number % 2:
            # Letterboxed: the picture keeps its shape and is centred on black.
            scale = self.tile / max(image.size)
            width, height = (max(1, round(side * scale)) for side in image.size)
            left, top = (self.tile - width) // 2, (self.tile - height) // 2
            tile = Image.new("RGB", (self.tile, self.tile))
            tile.paste(image.resize((width, height), Image.Resampling.BICUBIC), (left, top))
            boxes[:, :2] = (boxes[:, :2] * height + top) / self.tile
            boxes[:, 2:] = (boxes[:, 2:] * width + left) / self.tile
        else:
            tile = image.resize((self.tile, self.tile), Image.Resampling.BICUBIC)
        # 2. Pixels as the processor normalises them: (tile, tile, 3) in 0..255 -> (3, tile, tile) in -1..1.
        pixels = np.asarray(tile, dtype=np.float32).transpose(2, 0, 1) / 127.5 - 1
        return {
            "pixels": torch.from_numpy(pixels),
            "boxes": torch.from_numpy(boxes),
            "coverage": torch.from_numpy(_coverage(boxes, self.tile // self.patch)),
            "front": torch.tensor(picture.front),
        }


def _coverage(boxes: np.ndarray, side: int) -> np.ndarray:
    """Compute how much of each of ``side`` x ``side`` patches each box covers: (2, 4) -> (2, side * side), 0 to 1."""
    edges = np.arange(side, dtype=np.float32)
    # How much of each row of patches and of each column a box covers, each (2, side).
    rows, columns = (
        np.clip(
            np.minimum(boxes[:, high, None] * side, edges + 1) - np.maximum(boxes[:, low, None] * side, edges), 0, 1
        )
        for low, high in ((0, 1), (2, 3))
    )
    return (rows[:, :, None] * columns[:, None, :]).reshape(2, side * side)
