"""What was once computed about a text, kept in the user's cache folder: tokens, METEOR counts, SPICE scores.

SQLite, because several runs may write at once and a kill at any moment leaves it whole.
"""

import hashlib
import os
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from vsd_utils.errors import VsdError

_AT_ONCE = 900  # SQLite's oldest limit on the parameters of one statement is 999.


def cache_folder() -> Path:
    """``VSD_CACHE``, else ``vsd_utils`` in the user's cache folder of this system (``XDG_CACHE_HOME`` on Linux)."""
    if chosen := os.environ.get("VSD_CACHE"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "vsd_utils"


class Store:
    """A table of texts by text in one file; reading and writing many at a time."""

    def __init__(self, path: Path, table: str) -> None:
        """Make file and table where they are missing; raises ``VsdError`` naming the file when it cannot be used."""
        self.path, self.table = path, table
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as database, database:
                database.execute(f"CREATE TABLE IF NOT EXISTS {table} (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise self._problem(error) from None

    def get(self, texts: Iterable[str]) -> dict[str, str]:
        """Values of those ``texts`` that are known."""
        by_key = {_key(text): text for text in texts}
        keys, found = list(by_key), {}
        try:
            with closing(self._open()) as database:
                for start in range(0, len(keys), _AT_ONCE):
                    part = keys[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(part))
                    rows = database.execute(f"SELECT key, value FROM {self.table} WHERE key IN ({marks})", part)
                    found.update({by_key[key]: value for key, value in rows})
        except sqlite3.Error as error:
            raise self._problem(error) from None
        return found

    def put(self, values: Mapping[str, str]) -> None:
        """Keep ``values`` by their texts, all or, when killed, none of them."""
        rows = [(_key(text), value) for text, value in values.items()]
        try:
            with closing(self._open()) as database, database:
                database.executemany(f"INSERT OR REPLACE INTO {self.table} VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._problem(error) from None

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=60)

    def _problem(self, error: Exception) -> VsdError:
        return VsdError(
            f"{self.path}: this cache file cannot be used ({error}). Delete it, or name another folder in VSD_CACHE."
        )


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]
