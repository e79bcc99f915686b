"""SpatialSense's photos, from Flickr and NYU, out of the archives of a Zenodo record.

Which archives there are, with their sizes and MD5 digests, is asked of Zenodo; none is fetched for a photo that it is
known to lack. Each is fetched with resuming, gives the photos that are needed, and is removed.
"""

import hashlib
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, remove, remove_leftovers, write_json
from vsd_utils.common.progress import steps
from vsd_utils.data import archives
from vsd_utils.data.download import Downloader, Missing, UnsoundError, Wanted, fetch_first, part_of
from vsd_utils.data.photos import SUFFIXES, open_photo
from vsd_utils.data.sources import SpatialSenseSource

FOLDER = "spatialsense"  # below the folder of photos
_ARCHIVES = "archives"  # below that, while there is work on them
_CONTENTS = "contents.json"  # MD5 of an archive that was unpacked -> the photos that it holds


class _Links(BaseModel):
    address: Annotated[str, Field(alias="self")]


class _RecordFile(BaseModel):
    key: Annotated[str, Field(pattern=r"^[^/\\]*[^/\\.][^/\\]*$")]
    size: int
    checksum: Annotated[str, Field(pattern="^md5:[0-9a-f]{32}$")]
    links: _Links


class _Record(BaseModel):
    files: list[_RecordFile]


def fetch_spatialsense(
    ids: Sequence[str], folder: Path, source: SpatialSenseSource, downloader: Downloader
) -> list[Missing]:
    """Put the photos of these ids into ``spatialsense`` below ``folder``, and return those that could not be had.

    Of several members of one name the archive's first is taken. Raises ``VsdError`` where the record or an archive
    cannot be had or read, the disk has no room for it, or a member of it would lie outside its folder.
    """
    target = folder / FOLDER
    remove_leftovers(target)
    left, reasons = {*ids}, dict.fromkeys(ids, "in none of the record's archives")
    if left:
        contents = _contents(target)
        for file in _record(target, source, downloader).files:
            lacks_them = file.checksum in contents and not any(_id_of(name, left) for name in contents[file.checksum])
            if not left or lacks_them or not archives.is_archive(file.key):
                continue
            archive = _fetched(file, target, downloader)
            names, problems = _unpack(archive, left, target)
            left -= {img_id for name in names if (img_id := _id_of(name, left)) and img_id not in problems}
            reasons |= problems
            contents = contents | {file.checksum: names}
            write_json(target / _CONTENTS, contents)
    remove(target / _ARCHIVES)
    where = " or ".join(source.records)
    return [Missing(target / img_id, (f"{where}: {reasons[img_id]}",)) for img_id in ids if img_id in left]


def _record(target: Path, source: SpatialSenseSource, downloader: Downloader) -> _Record:
    path = target / _ARCHIVES / "record.json"
    path.unlink(missing_ok=True)
    wanted = Wanted(path, source.records, _read_record, resumable=False)
    return _read_record(fetch_first(downloader, wanted))


def _read_record(path: Path) -> _Record:
    try:
        return _Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UnsoundError(f"not what Zenodo says of a record ({str(error).splitlines()[0]})") from None


def _fetched(file: _RecordFile, target: Path, downloader: Downloader) -> Path:
    path = target / _ARCHIVES / file.key
    if path.is_file():  # of a run that was killed while it unpacked
        return path
    part = part_of(path)
    needed, free = file.size - (part.stat().st_size if part.is_file() else 0), shutil.disk_usage(target).free
    if needed > free:
        raise VsdError(
            f"{target}: {free / 1e9:.1f} GB free, {needed / 1e9:.1f} GB needed for {file.key}. Make room, or set "
            "fetch.photos to a folder on a larger disk."
        )
    wanted = Wanted(path, (file.links.address,), partial(_check_md5, expected=file.checksum), resumable=True)
    return fetch_first(downloader, wanted)


def _unpack(archive: Path, wanted: set[str], target: Path) -> tuple[list[str], dict[str, str]]:
    """Write the photos of the ``wanted`` ids; returns the names of all photos in it, and what was wrong with which."""
    names: list[str] = []
    problems: dict[str, str] = {}
    done: set[str] = set()
    with archives.members(archive) as (count, members):
        for member in steps(members, f"files of {archive.name} looked at", count):
            if Path(member.file_name).suffix.lower() not in SUFFIXES:
                continue
            names.append(member.file_name)
            img_id = _id_of(member.file_name, wanted)
            if img_id is None or img_id in done:
                continue
            try:
                archives.extract(member, target / member.file_name, open_photo)
            except VsdError as error:
                problems[img_id] = f"{archive.name}, {member.name}: {str(error).partition(': ')[2]}"
            else:
                done.add(img_id)
                problems.pop(img_id, None)
    return sorted({*names}), problems


def _id_of(file_name: str, ids: set[str]) -> str | None:
    """Find which of the ids a photo's file name is, with its suffix or without."""
    return next((name for name in (file_name, Path(file_name).stem) if name in ids), None)


def _contents(target: Path) -> dict[str, Any]:
    return dict(read_json(target / _CONTENTS)) if (target / _CONTENTS).is_file() else {}


def _check_md5(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if f"md5:{found}" != expected:
        raise UnsoundError(f"has the digest md5:{found}, expected {expected}")
