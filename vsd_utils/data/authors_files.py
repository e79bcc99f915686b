"""The six annotation files of the VSD authors: recognised by their git blob ids, and fetched where they are missing."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import user_path
from vsd_utils.common.sections import Fetch
from vsd_utils.data.download import Downloader, UnsoundError, Wanted
from vsd_utils.data.sources import AnnotationSource, read_sources


def git_blob(path: Path) -> str:
    """Compute the id that git gives a file's content (``git hash-object``)."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def are_the_authors(folder: Path, paths: Iterable[Path]) -> bool:
    """Tell whether files in ``folder`` are the published ones, whatever ``fetch.sources`` says of a mirror's."""
    published = read_sources(None).annotations.git_blobs
    return all(git_blob(path) == published[path.relative_to(folder).as_posix()] for path in paths)


def needed_names(settings: Fetch) -> list[str]:
    """List the files that a run uses where all can be had, relative to the user's folder; for an own split val's."""
    names = sorted(read_sources(None).annotations.git_blobs)
    return [name for name in names if settings.own_split != "always" or name.endswith("val.json")]


def fetch_annotations(settings: Fetch, source: AnnotationSource, downloader: Downloader) -> list[str]:
    """Fetch the annotation files that are missing, and say in lines which could not be had.

    A file that is there stays as it is, whatever it holds. Raises ``VsdError`` where the run cannot do without one of
    those that could not be had: without any, or, with ``own_split: if_needed``, without a val file.
    """
    folder = user_path(str(settings.annotations))
    absent = [name for name in needed_names(settings) if not (folder / name).exists()]
    wanted = [
        Wanted(
            folder / name,
            tuple(f"{address}/{name}" for address in source.addresses),
            lambda path, blob=source.git_blobs[name]: _check_blob(path, blob),  # type: ignore[misc]
            resumable=True,
        )
        for name in absent
    ]
    missing = downloader.fetch(wanted, "annotation files fetched", proven=False)
    lines = [f"{one.path}: could not be fetched: {'; '.join(one.reasons)}" for one in missing]
    indispensable = settings.own_split != "if_needed" or any(one.path.name.endswith("val.json") for one in missing)
    if lines and indispensable:
        raise VsdError(
            "\n".join(lines)
            + f"\nPut the files of dataset/ of github.com/zhaoyucs/VSD into {folder} by hand, name another address in "
            "fetch.sources, or set fetch.annotations to where they are (and fetch.download=false, to ask nobody)."
        )
    return lines


def _check_blob(path: Path, expected: str) -> None:
    if (found := git_blob(path)) != expected:
        raise UnsoundError(f"has the git blob id {found}, expected {expected}")
