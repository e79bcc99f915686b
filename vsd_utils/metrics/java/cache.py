"""What was once computed about a text, kept in the user's cache folder: tokens, METEOR counts, SPICE parses and scores.

SQLite, because several runs may write at once and a kill at any moment leaves it whole. A cache saves time and decides
nothing: one that cannot be read or written is done without, one that is damaged is set aside and made anew, each with
a line on standard error, and every value has a digest beside it, so that a damaged one counts as unknown.
"""

import atexit
import functools
import hashlib
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import platformdirs

_AT_ONCE = 900  # SQLite's oldest limit on the parameters of one statement is 999.
_DAMAGED = (sqlite3.Error, UnicodeDecodeError)  # the latter when SQLite quotes a damaged file in its message
_WITHOUT = "The scores are the same, but computed again each time. VSD_CACHE names another folder."


def cache_folder() -> Path:
    """Find where to keep things: ``VSD_CACHE``, else ``vsd_utils`` in the user's cache folder of this system.

    Where the user has no home it is a folder for this run alone.
    """
    try:
        if chosen := os.environ.get("VSD_CACHE"):
            return Path(chosen).expanduser().absolute()
        return platformdirs.user_cache_path("vsd_utils", appauthor=False).absolute()
    except (OSError, RuntimeError) as error:
        _say_without("the cache folder", error)
        return folder_of_this_run()


@functools.cache
def folder_of_this_run() -> Path:
    """Make a temporary folder, the same each time, that goes when the program ends."""
    folder = tempfile.TemporaryDirectory(prefix="vsd_utils-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


class Store:
    """A table of texts by text in one file; reading and writing many at a time, neither of which ever fails."""

    def __init__(self, path: Path, table: str) -> None:
        """Open nothing yet."""
        self.path, self.table = path, table
        self._usable = True  # until it fails: waiting for a lock takes a minute each time

    def get(self, texts: Iterable[str]) -> dict[str, str]:
        """Look up those ``texts`` that are known; none where the file cannot be used."""
        by_key = {_key(text): text for text in texts}
        try:
            return self._get(by_key) if self._usable and self.path.exists() else {}
        except OSError as error:
            self._without(error)
        except _DAMAGED as error:
            self._mend(error)
        return {}

    def put(self, values: Mapping[str, str]) -> None:
        """Keep ``values`` by their texts, all or, when killed or where the file cannot be written, none of them."""
        rows = [(key := _key(text), value, _digest(key, value)) for text, value in values.items()]
        for last in (False, True):
            if not self._usable:
                return
            try:
                with closing(self._open()) as database, database:
                    database.executemany(f"INSERT OR REPLACE INTO {self.table} VALUES (?, ?, ?)", rows)
            except OSError as error:
                self._without(error)
            except _DAMAGED as error:
                if not last and self._mend(error):
                    continue
            return

    def _get(self, by_key: Mapping[bytes, str]) -> dict[str, str]:
        keys, found, damaged = list(by_key), {}, 0
        with closing(self._open()) as database:
            for start in range(0, len(keys), _AT_ONCE):
                part = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(part))
                rows = database.execute(f"SELECT key, value, digest FROM {self.table} WHERE key IN ({marks})", part)
                for key, value, digest in rows:
                    if key in by_key and isinstance(value, str) and digest == _digest(key, value):
                        found[by_key[key]] = value
                    else:
                        damaged += 1
        if damaged:
            say_once(f"{self.path}: {damaged} of the values kept there are damaged and are computed again.")
        return found

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=60)
        database.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
        try:
            columns = "key BLOB PRIMARY KEY, value TEXT, digest BLOB"
            database.execute(f"CREATE TABLE IF NOT EXISTS {self.table} ({columns}) WITHOUT ROWID")
        except BaseException:
            database.close()
            raise
        return database

    def _mend(self, error: sqlite3.Error | UnicodeDecodeError) -> bool:
        """Set a damaged file aside; return whether another try is worth it."""
        # SQLite's primary codes (the lower byte): a locked, full or unwritable file is in order, only of no use.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        damaged = self.path.is_dir() or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
        if not damaged:
            self._without(error)
            return False
        try:
            aside = set_aside(self.path)
        except OSError as failed:
            self._without(failed)
            return False
        say_once(
            f"{self.path}: this cache file is damaged ({error}). It was set aside as {aside.name} and is made anew."
        )
        return True

    def _without(self, error: Exception) -> None:
        self._usable = False
        _say_without(self.path, error)


def set_aside(path: Path) -> Path:
    """Rename a damaged file or folder, for whoever wants to know why; returns its new path. Raises ``OSError``."""
    aside = path.with_name(f"{path.name}.damaged")
    number = 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{number}")
    path.rename(aside)
    # SQLite would play the old file's journal back into the new file.
    for kind in ("-journal", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + kind).rename(aside.with_name(aside.name + kind))
    return aside


def say_once(line: str, reason: str = "") -> None:
    """Print a line on standard error, unless one with this ``reason`` (default: the same line) was printed before."""
    if (reason or line) not in _SAID:
        _SAID.add(reason or line)
        print(line, file=sys.stderr)


_SAID: set[str] = set()


def _say_without(what: Path | str, error: Exception) -> None:
    say_once(f"{what}: cannot be used as a cache ({error}). {_WITHOUT}", str(error))


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _digest(key: bytes, value: str) -> bytes:
    return hashlib.sha256(key + value.encode("utf-8", "surrogatepass")).digest()[:8]
