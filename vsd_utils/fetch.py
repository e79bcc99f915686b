"""The first stage: put the annotations of three splits, and the sample profile's pictures, where the others look.

    python -m vsd_utils.fetch

Writes ``data/annotations`` (six files named as the VSD authors name theirs, and ``source.json``: what they are) and
``data/images`` (rendered scenes; photos stay in the user's folder).
"""

import hashlib
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vsd_utils import lifetime, preflight, scenes, work_lock
from vsd_utils.annotations import SPLITS, load_items, load_pairs
from vsd_utils.errors import VsdError
from vsd_utils.files import read_json, replacing_folder, sha256, write_json
from vsd_utils.origin import SOURCE, describe
from vsd_utils.params import load
from vsd_utils.paths import ANNOTATIONS, IMAGES, ROOT, annotation_file
from vsd_utils.sections import Fetch, Params

# Git blob ids of the authors' files (zhaoyucs/VSD at a1ff08a7c50c574592871d75a2a15b28a4d2ec5d, dataset/).
AUTHORS_FILES = {
    "VSDv1/train.json": "afc0f0f1195bd89c5e2d97cbb2240be27ea7df36",
    "VSDv1/val.json": "2a617ab2e03a072ca21f298ba69b3a34c34c2376",
    "VSDv1/test.json": "6d7d0977ad0d40a0f0ab29731110a5468c74c8c7",
    "VSDv2/newvsd_train.json": "8800508cc54f200ee4da46e3629f23e700fe75f0",
    "VSDv2/newvsd_val.json": "4f05fdcceeb0cbb572557d279b423900ce96773a",
    "VSDv2/newvsd_test.json": "6f3d77f08aa013d22a40c9c9878389091c61641a",
}


def fetch(params: Params) -> dict[str, Any]:
    """Run the stage and return the content of ``source.json``."""
    if problems := preflight.problems(params):
        raise VsdError("\n".join(problems))
    with replacing_folder(IMAGES) as images, replacing_folder(ANNOTATIONS) as annotations:
        if params.fetch.source == "scenes":
            record = _render(params.fetch, params.seed, annotations, images)
        else:
            record = _take(params.fetch, params.seed, [] if params.convert.skip_invalid else None, annotations)
        written = sorted(annotations.rglob("*.json"))
        record["files"] = {path.relative_to(annotations).as_posix(): sha256(path) for path in written}
        write_json(annotations / SOURCE, record)
    return record


def split_images(ids: list[str], shares: tuple[int, int, int], seed: int) -> dict[str, str]:
    """Assign every image to one split, at random by ``seed``; ``shares`` are the parts of train, val and test."""
    order = np.random.default_rng(seed).permutation(len(ids))
    ends = np.rint(np.cumsum(shares) / sum(shares) * len(ids)).astype(int)
    return {ids[index]: SPLITS[int(np.searchsorted(ends, place, side="right"))] for place, index in enumerate(order)}


def _render(settings: Fetch, seed: int, annotations: Path, images: Path) -> dict[str, Any]:
    counts = settings.scenes.model_dump()
    with ProcessPoolExecutor(max_workers=len(SPLITS), initializer=lifetime.end_with_parent) as pool:
        tasks = [pool.submit(scenes.write_split, annotations, images, split, counts[split], seed) for split in SPLITS]
        for task in tasks:
            task.result()
    return {"source": "scenes", "images": counts, "photos": IMAGES.relative_to(ROOT).as_posix()}


def _take(settings: Fetch, seed: int, skipped: list[str] | None, target: Path) -> dict[str, Any]:
    # Files are taken as they are. With `skipped` broken items stay in, for the conversion to leave out and count.
    folder = ROOT / str(settings.annotations)
    record: dict[str, Any] = {"source": "folder", "own_split": settings.own_split, "photos": settings.photos}
    used = ("val",) if settings.own_split else SPLITS
    found = [annotation_file(version, split, folder) for split in used for version in (1, 2)]
    record["authors_files"] = all(
        git_blob(path) == AUTHORS_FILES[path.relative_to(folder).as_posix()] for path in found
    )
    if settings.own_split:
        load_pairs(found[0], found[1], skipped)
        shares = settings.shares
        versions = {version: read_json(path) for version, path in zip((1, 2), found, strict=True)}
        ids = sorted({_id(raw) for items in versions.values() for raw in items})
        where = split_images(ids, (shares.train, shares.val, shares.test), seed)
        for version, items in versions.items():
            for split in SPLITS:
                write_json(annotation_file(version, split, target), [raw for raw in items if where[_id(raw)] == split])
        record["images"] = {split: sum(kept == split for kept in where.values()) for split in SPLITS}
    else:
        for path in found:
            copy = target / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        record["images"] = {split: len(load_items(annotation_file(1, split, target), [])) for split in SPLITS}
    return record


def _id(raw: Any) -> str:
    return str(raw.get("img_id")) if isinstance(raw, dict) else ""


def git_blob(path: Path) -> str:
    """The id that git gives a file's content (``git hash-object``)."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


if __name__ == "__main__":
    lifetime.end_with_dvc()
    try:
        with work_lock.held("fetch"):
            made = fetch(load())
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{describe(made)}: {made['images']} images")
