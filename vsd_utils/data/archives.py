"""Single files out of ZIP and tar archives; whatever an archive says, nothing is written outside the one folder."""

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from typing import IO, NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_BYTES = 200_000_000  # of one file; an archive may claim anything


class Member(NamedTuple):
    """Describe one file in an archive: its path there, its size in bytes as claimed, and how to open it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]

    @property
    def file_name(self) -> str:
        """Return the last part of its path."""
        return PurePosixPath(self.name).name


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is an archive that ``members`` reads."""
    return name.lower().endswith(SUFFIXES)


@contextmanager
def members(path: Path) -> Iterator[tuple[int, Iterator[Member]]]:
    """Open an archive; gives the number of its entries, and its files one after the other, in the archive's order.

    A member has to be opened before the next one is taken. Raises ``VsdError`` naming archive and member for one with
    an absolute path or ``..``, for a link or a device, and for an archive that cannot be read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                yield len(zipped.infolist()), _zip_members(path, zipped)
        else:
            with tarfile.open(path, "r:*") as tarred:
                yield len(tarred.getmembers()), _tar_members(path, tarred)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, RuntimeError) as error:
        raise VsdError(
            f"{path}: cannot be read as an archive ({error}). Remove it, to have it fetched again."
        ) from None


def extract(member: Member, target: Path, check: Callable[[Path], object]) -> None:
    """Write a member to ``target``, whole or not at all; ``check`` sees the file first and may refuse it by raising.

    The member's own path plays no part in where it goes. Raises ``VsdError`` for a member of an impossible size.
    """
    if member.size > MOST_BYTES:
        raise VsdError(
            f"{member.name}: claims {member.size:,} bytes; no file that is wanted has more than {MOST_BYTES:,}"
        )
    with replacing(target) as temporary:
        with member.open() as content, temporary.open("wb") as file:
            copyfileobj(content, file)
        check(temporary)


def _zip_members(path: Path, zipped: zipfile.ZipFile) -> Iterator[Member]:
    for info in zipped.infolist():
        if info.is_dir():
            continue
        mode = info.external_attr >> 16
        _refuse_strange(path, info.filename, not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG))
        yield Member(info.filename, info.file_size, lambda info=info: zipped.open(info))  # type: ignore[misc]


def _tar_members(path: Path, tarred: tarfile.TarFile) -> Iterator[Member]:
    for info in tarred.getmembers():
        if info.isdir():
            continue
        _refuse_strange(path, info.name, info.isreg())
        yield Member(info.name, info.size, lambda info=info: _opened(tarred, info))  # type: ignore[misc]


def _opened(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tarred.extractfile(info)
    assert content is not None, "it is a regular file"
    return content


def _refuse_strange(path: Path, name: str, is_regular: bool) -> None:
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        raise VsdError(
            f"{path}: its member {name!r} would lie outside the folder. It is not unpacked: is it the archive?"
        )
    if not is_regular:
        raise VsdError(f"{path}: its member {name!r} is a link or a device. It is not unpacked: is it the archive?")
