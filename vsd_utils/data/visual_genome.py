"""Visual Genome's photos, one by one: only those that are needed, 2.5 GB instead of two archives of 15."""

import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, TypeAdapter, ValidationError

from vsd_utils.common.errors import VsdError
from vsd_utils.data import photos
from vsd_utils.data.download import Downloader, Missing, UnsoundError, Wanted
from vsd_utils.data.sources import VisualGenomeSource

FOLDER = "visual_genome"  # below the folder of photos
IMAGE_DATA = "image_data.json"


class ListedPhoto(NamedTuple):
    """Say of a photo where it lies, as in ``VG_100K/7.jpg``, and its width and height in pixels."""

    place: str
    size: tuple[int, int]


class _Entry(BaseModel):
    image_id: int
    url: str
    width: int
    height: int


_ENTRIES = TypeAdapter(list[_Entry])


def fetch_visual_genome(
    ids: Sequence[str], folder: Path, source: VisualGenomeSource, downloader: Downloader
) -> list[Missing]:
    """Fetch the photos of these ids into ``visual_genome`` below ``folder``, and return those that could not be had.

    A photo is taken that decodes to its last pixel and has the size that ``image_data.json`` gives. Where that list
    cannot be had, photos of several ids with the same bytes are placeholders, and are not kept.
    """
    if not ids:
        return []
    listed = image_data(folder, source, downloader)
    target = folder / FOLDER
    wanted = [
        Wanted(
            target / f"{img_id}.jpg",
            _addresses(img_id, listed.get(img_id), source),
            lambda path, img_id=img_id: check_photo(path, listed[img_id].size if img_id in listed else None),  # type: ignore[misc]
            resumable=False,
        )
        for img_id in ids
    ]
    some_are_there = target.is_dir() and any(target.glob("*.jpg"))
    missing = downloader.fetch(wanted, "Visual Genome photos fetched", proven=some_are_there)
    return missing + _placeholders(target, listed, {*ids})


def image_data(folder: Path, source: VisualGenomeSource, downloader: Downloader) -> dict[str, ListedPhoto]:
    """Read Visual Genome's list of photos by id, the user's in ``folder`` or one that is fetched; empty without one."""
    own, kept = folder / IMAGE_DATA, folder / FOLDER / IMAGE_DATA
    path = own if own.is_file() else kept
    if not path.is_file():
        fetched = kept.with_name("image_data.fetched")
        wanted = Wanted(fetched, source.image_data, _read_image_data, resumable=False)
        if missing := downloader.fetch([wanted], f"{IMAGE_DATA} fetched", proven=False):
            print(
                f"{IMAGE_DATA} could not be fetched ({'; '.join(missing[0].reasons)}): photos are looked for in "
                f"{' and '.join(source.folders)}, and their sizes are not compared.",
                file=sys.stderr,
            )
            return {}
        # As it came, packed or not; it is unpacked each time it is read.
        fetched.replace(path)
    try:
        entries = _read_image_data(path)
    except UnsoundError as error:
        print(f"{path}: {error}; it is not used. Remove it, to have it fetched again.", file=sys.stderr)
        return {}
    return {
        str(entry.image_id): ListedPhoto("/".join(entry.url.split("/")[-2:]), (entry.width, entry.height))
        for entry in entries
    }


def check_photo(path: Path, size: tuple[int, int] | None) -> None:
    """Refuse a photo that does not decode to its last pixel, or is not of that width and height, if they are known."""
    try:
        found = photos.open_photo(path).size
    except VsdError as error:
        raise UnsoundError(str(error).removeprefix(f"{path}: ").removesuffix(" Fetch it again.")) from None
    if size and size not in (found, found[::-1]):  # the list may give it before it is turned upright
        raise UnsoundError(
            f"a picture of {found[0]} x {found[1]} pixels, expected {size[0]} x {size[1]}: a placeholder?"
        )


def _addresses(img_id: str, listed: ListedPhoto | None, source: VisualGenomeSource) -> tuple[str, ...]:
    places = [listed.place] if listed else [f"{name}/{img_id}.jpg" for name in source.folders]
    return tuple(f"{address}/{place}" for address in source.addresses for place in places)


def _placeholders(target: Path, listed: dict[str, ListedPhoto], ids: set[str]) -> list[Missing]:
    """Remove photos of the same bytes as one of ``ids`` just fetched, also those of a run that was killed.

    Only where nothing is known of their size; photos of a known size may be alike.
    """
    unlisted = {path.stem: path for path in sorted(target.glob("*.jpg")) if path.stem not in listed}
    missing = []
    for alike in photos.same_pictures(unlisted):
        for img_id in alike if not ids.isdisjoint(alike) else ():
            unlisted[img_id].unlink()
            missing.append(Missing(unlisted[img_id], ("came with the same bytes as another photo: a placeholder",)))
    return missing


def _read_image_data(path: Path) -> list[_Entry]:
    try:
        if not zipfile.is_zipfile(path):
            return _ENTRIES.validate_json(path.read_bytes())
        with zipfile.ZipFile(path) as zipped:
            return _ENTRIES.validate_json(zipped.read(IMAGE_DATA))
    except (ValidationError, zipfile.BadZipFile, KeyError) as error:
        raise UnsoundError(f"not Visual Genome's list of photos ({str(error).splitlines()[0]})") from None
