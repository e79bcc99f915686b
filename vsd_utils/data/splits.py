"""Which images stand in which split: the authors' splits or an own one, whole or a share of each, drawn by seed."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from vsd_utils.common.paths import annotation_file, user_path
from vsd_utils.common.sections import Fetch
from vsd_utils.data.annotations import SPLITS

AUTHORS_IMAGES = {"train": 20_490, "val": 2_927, "test": 5_855}  # in the authors' files


def makes_own_split(settings: Fetch) -> bool:
    """Tell whether the val files are split here; with "if_needed", whether a train or test file is absent by now."""
    if settings.own_split == "if_needed":
        return any(not path.is_file() for split in ("train", "test") for path in _files(settings, split))
    return settings.own_split == "always"


def renders_scenes(settings: Fetch) -> bool:
    """Tell whether scenes are rendered: asked for, or because the user's annotations or photos are not there."""
    if settings.source != "folder_or_scenes":
        return settings.source == "scenes"
    annotated = all(path.is_file() for paths in source_files(settings).values() for path in paths)
    return not annotated or (settings.photos is not None and not user_path(settings.photos).is_dir())


def source_files(settings: Fetch) -> dict[str, tuple[Path, Path]]:
    """Name the VSDv1 and the VSDv2 file of each split in the user's folder; for an own split the val files alone."""
    used = ("val",) if makes_own_split(settings) else SPLITS
    return {split: _files(settings, split) for split in used}


def split_images(ids: list[str], shares: tuple[int, int, int], seed: int) -> dict[str, str]:
    """Assign every image to one split, at random by ``seed``: id -> split.

    ``shares`` are the parts of train, val and test, in any unit.
    """
    order = np.random.default_rng(seed).permutation(len(ids))
    # Where each split ends in that order, (3,).
    ends = np.rint(np.cumsum(shares) / sum(shares) * len(ids)).astype(int)
    return {ids[index]: SPLITS[int(np.searchsorted(ends, place, side="right"))] for place, index in enumerate(order)}


def drawn_share(ids: Iterable[str], most: int, seed: int) -> set[str]:
    """Draw at most ``most`` of the ids, at random by ``seed``, whatever their order."""
    ordered = sorted(ids)
    order = np.random.default_rng(seed).permutation(len(ordered))
    return {ordered[index] for index in order[:most]}


def _files(settings: Fetch, split: str) -> tuple[Path, Path]:
    folder = user_path(str(settings.annotations))
    return annotation_file(1, split, folder), annotation_file(2, split, folder)
