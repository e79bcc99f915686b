"""Put the annotations of three splits, and the mini profile's pictures, where the other stages look.

    vsd fetch

Fetches first, with ``fetch.download``, what is missing of the authors' files and of the photos, into the user's own
folders; where from stands in ``vsd_utils/data/sources.yaml``. Whatever is there is neither fetched nor changed.

Writes ``data/annotations``: six files named as the VSD authors name theirs, with images that can be used and no others
(``vsd_utils/data/admission.py``), ``source.json`` (what they are, ``vsd_utils/data/dataset_info.py``) and
``left_out.json`` (which images are not among them, and why). Rendered scenes go to ``data/images``; photos stay in the
user's folder.
"""

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from vsd_utils.commands import stage
from vsd_utils.common import lifetime
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder, sha256, write_json
from vsd_utils.common.params import load
from vsd_utils.common.paths import ANNOTATIONS, IMAGES, ROOT, annotation_file, user_path
from vsd_utils.common.sections import Fetch, Params
from vsd_utils.data.admission import Admission, left_out, survey
from vsd_utils.data.annotations import SPLITS
from vsd_utils.data.authors_files import are_the_authors, fetch_annotations
from vsd_utils.data.dataset_info import LEFT_OUT, SOURCE, describe
from vsd_utils.data.download import Downloader
from vsd_utils.data.photo_sources import fetch_photos
from vsd_utils.data.sources import read_sources
from vsd_utils.data.splits import drawn_share, makes_own_split, renders_scenes, source_files, split_images
from vsd_utils.miniature.scenes.dataset import write_split


def fetch(params: Params) -> dict[str, Any]:
    """Run the stage and return the content of ``source.json``.

    Raises ``VsdError`` with all that is wrong with annotations and photos, before anything is written, unless
    ``fetch.skip_invalid`` leaves such images out.
    """
    settings = params.fetch
    scenes = renders_scenes(settings)
    if not scenes and settings.download:
        download(settings, params.seed)
    admission = None if scenes else _admit(settings, params.seed)
    with replacing_folder(IMAGES) as images, replacing_folder(ANNOTATIONS) as annotations:
        if admission:
            record = _write_admitted(settings, params.seed, admission, annotations)
        else:
            record = _render_scenes(settings, params.seed, annotations, images)
        written = sorted(annotations.glob("*/*.json"))
        record["files"] = {path.relative_to(annotations).as_posix(): sha256(path) for path in written}
        write_json(annotations / SOURCE, record)
    return record


def download(settings: Fetch, seed: int) -> None:
    """Fetch what is missing of annotations and photos, and list on standard error what could not be had.

    Raises ``VsdError`` where the run cannot do without, or the rest is not worth a try. Asks nobody where all is there.
    """
    try:
        lines = _downloaded(settings, seed)
    except OSError as error:
        raise VsdError(f"{error}: what is fetched cannot be written. Make room, or mend it.") from None
    if lines:
        print("\n".join([*lines, f"{len(lines):,} files could not be fetched"]), file=sys.stderr)


def _downloaded(settings: Fetch, seed: int) -> list[str]:
    sources = read_sources(settings.sources)
    downloader = Downloader(settings.transfer)
    lines = fetch_annotations(settings, sources.annotations, downloader)
    if settings.photos is not None:
        # The annotations say which photos; what is wrong with them is said before a photo is fetched.
        admission = _admit(settings.model_copy(update={"photos": None}), seed)
        ids = [versions.v1.img_id for images in admission.usable.values() for versions in images]
        lines += fetch_photos(ids, user_path(settings.photos), sources, downloader)
    return lines


def _render_scenes(settings: Fetch, seed: int, annotations: Path, images: Path) -> dict[str, Any]:
    assert settings.scenes is not None, "the schema asks for it"
    counts, width = settings.scenes.model_dump(include={*SPLITS}), settings.scenes.width
    with ProcessPoolExecutor(max_workers=len(SPLITS), initializer=lifetime.end_with_parent) as pool:
        folders = annotations, images
        tasks = [pool.submit(write_split, *folders, split, counts[split], seed, width) for split in SPLITS]
        for task in tasks:
            task.result()
    photos = IMAGES.relative_to(ROOT).as_posix()
    return {"source": "scenes", "images": counts, "photos": photos, "left_out": dict.fromkeys(SPLITS, 0)}


def _admit(settings: Fetch, seed: int) -> Admission:
    admission, problems = survey(settings, seed, every_pixel=True)
    if problems:
        raise VsdError("\n".join(problems))
    return admission


def _write_admitted(settings: Fetch, seed: int, admission: Admission, target: Path) -> dict[str, Any]:
    """Write the six files of the images that can be used, and ``left_out.json``; returns what ``source.json`` says."""
    files = source_files(settings)
    folder = user_path(str(settings.annotations))
    splits = admission.usable
    not_drawn = dict(admission.not_drawn)
    own_split = makes_own_split(settings)
    if own_split:
        (images,) = splits.values()
        shares = settings.shares
        ids = sorted(versions.v1.img_id for versions in images)
        split_of = split_images(ids, (shares.train, shares.val, shares.test), seed)
        drawn = {split: {img_id for img_id in ids if split_of[img_id] == split} for split in SPLITS}
        if settings.images:
            most = settings.images.model_dump()
            not_drawn = {split: max(len(drawn[split]) - most[split], 0) for split in SPLITS}
            drawn = {split: drawn_share(drawn[split], most[split], seed) for split in SPLITS}
        splits = {split: [versions for versions in images if versions.v1.img_id in drawn[split]] for split in SPLITS}
        if not all(splits.values()):
            raise VsdError(
                f"{len(images)} images are too few for three splits with these fetch.shares: {shares}. "
                "Use more images or more even shares."
            )
    rows = left_out(admission, settings)
    for split, images in splits.items():
        for version in (1, 2):
            copy = annotation_file(version, split, target)
            if own_split or rows[split] or not_drawn.get(split):
                write_json(copy, [versions[version - 1].model_dump(mode="json") for versions in images])
            else:  # as it is, so that its digest still says whose it is
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files[split][version - 1], copy)
    write_json(target / LEFT_OUT, rows)
    return {
        "source": "folder",
        "own_split": own_split,
        "own_split_asked": settings.own_split,
        "not_drawn": not_drawn,
        "photos": settings.photos,
        "authors_files": are_the_authors(folder, chain.from_iterable(files.values())),
        "images": {split: len(images) for split, images in splits.items()},
        "left_out": {split: len(split_rows) for split, split_rows in rows.items()},
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def run(given: argparse.Namespace) -> int:
    """Run the stage and say what was fetched."""
    params = load()
    with stage.running("fetch"):
        record = fetch(params)
    print(f"{describe(record)}: {record['images']} images")
    if record.get("own_split") and record["own_split_asked"] == "if_needed":
        print("when the train and test files can be had: dvc repro --force fetch")
    if count := sum(record["left_out"].values()):
        print(f"left out: {count:,} images that cannot be used; {ANNOTATIONS / LEFT_OUT} says why")
    return 0
