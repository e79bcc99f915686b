"""Put the annotations of three splits, and the mini profile's pictures, where the other stages look.

Writes ``data/annotations``: six files named as the VSD authors name theirs, with images that can be used and no others
(``vsd_utils/data/admission.py``), ``source.json`` (what they are, ``vsd_utils/data/dataset_info.py``) and
``left_out.json`` (which images are not among them, and why). Rendered scenes go to ``data/images``; photos stay in the
user's folder.
"""

import argparse
import hashlib
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from vsd_utils.commands import stage
from vsd_utils.common import lifetime
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder, sha256, write_json
from vsd_utils.common.params import load
from vsd_utils.common.paths import ANNOTATIONS, IMAGES, ROOT, annotation_file, user_path
from vsd_utils.common.sections import Fetch, Params
from vsd_utils.data.admission import Admission, left_out, source_files, survey
from vsd_utils.data.annotations import SPLITS
from vsd_utils.data.dataset_info import LEFT_OUT, SOURCE, describe
from vsd_utils.miniature.scenes.dataset import write_split

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
    """Run the stage and return the content of ``source.json``.

    Raises ``VsdError`` with all that is wrong with annotations and photos, before anything is written, unless
    ``fetch.skip_invalid`` leaves such images out.
    """
    settings = params.fetch
    admission = None if settings.source == "scenes" else _admit(settings)
    with replacing_folder(IMAGES) as images, replacing_folder(ANNOTATIONS) as annotations:
        if admission:
            record = _write_admitted(settings, params.seed, admission, annotations)
        else:
            record = _render_scenes(settings, params.seed, annotations, images)
        written = sorted(annotations.glob("*/*.json"))
        record["files"] = {path.relative_to(annotations).as_posix(): sha256(path) for path in written}
        write_json(annotations / SOURCE, record)
    return record


def split_images(ids: list[str], shares: tuple[int, int, int], seed: int) -> dict[str, str]:
    """Assign every image to one split, at random by ``seed``: id -> split.

    ``shares`` are the parts of train, val and test, in any unit.
    """
    order = np.random.default_rng(seed).permutation(len(ids))
    # Where each split ends in that order, (3,).
    ends = np.rint(np.cumsum(shares) / sum(shares) * len(ids)).astype(int)
    return {ids[index]: SPLITS[int(np.searchsorted(ends, place, side="right"))] for place, index in enumerate(order)}


def _render_scenes(settings: Fetch, seed: int, annotations: Path, images: Path) -> dict[str, Any]:
    assert settings.scenes is not None, "the schema asks for it"
    counts = settings.scenes.model_dump()
    with ProcessPoolExecutor(max_workers=len(SPLITS), initializer=lifetime.end_with_parent) as pool:
        tasks = [pool.submit(write_split, annotations, images, split, counts[split], seed) for split in SPLITS]
        for task in tasks:
            task.result()
    photos = IMAGES.relative_to(ROOT).as_posix()
    return {"source": "scenes", "images": counts, "photos": photos, "left_out": dict.fromkeys(SPLITS, 0)}


def _admit(settings: Fetch) -> Admission:
    admission, problems = survey(settings, every_pixel=True)
    if problems:
        raise VsdError("\n".join(problems))
    return admission


def _write_admitted(settings: Fetch, seed: int, admission: Admission, target: Path) -> dict[str, Any]:
    """Write the six files of the images that can be used, and ``left_out.json``; returns what ``source.json`` says."""
    files = source_files(settings)
    folder = user_path(str(settings.annotations))
    splits = admission.usable
    if settings.own_split:
        (images,) = splits.values()
        shares = settings.shares
        ids = sorted(versions.v1.img_id for versions in images)
        split_of = split_images(ids, (shares.train, shares.val, shares.test), seed)
        splits = {split: [versions for versions in images if split_of[versions.v1.img_id] == split] for split in SPLITS}
        if not all(splits.values()):
            raise VsdError(
                f"{len(images)} images are too few for three splits with these fetch.shares: {shares}. "
                "Use more images or more even shares."
            )
    rows = left_out(admission, settings)
    for split, images in splits.items():
        for version in (1, 2):
            copy = annotation_file(version, split, target)
            if settings.own_split or rows[split]:
                write_json(copy, [versions[version - 1].model_dump(mode="json") for versions in images])
            else:  # as it is, so that its digest still says whose it is
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files[split][version - 1], copy)
    write_json(target / LEFT_OUT, rows)
    return {
        "source": "folder",
        "own_split": settings.own_split,
        "photos": settings.photos,
        "authors_files": all(
            git_blob(path) == AUTHORS_FILES[path.relative_to(folder).as_posix()]
            for paths in files.values()
            for path in paths
        ),
        "images": {split: len(images) for split, images in splits.items()},
        "left_out": {split: len(split_rows) for split, split_rows in rows.items()},
    }


def git_blob(path: Path) -> str:
    """Compute the id that git gives a file's content (``git hash-object``)."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def run(given: argparse.Namespace) -> int:
    """Run the stage and say what was fetched."""
    params = load()
    with stage.running("fetch"):
        record = fetch(params)
    print(f"{describe(record)}: {record['images']} images")
    if count := sum(record["left_out"].values()):
        print(f"left out: {count:,} images that cannot be used; {ANNOTATIONS / LEFT_OUT} says why")
    return 0
