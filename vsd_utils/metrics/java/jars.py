"""The Java archives that SPICE needs and no Python package ships: CoreNLP 3.6.0 and the script language Rhino.

They are fetched once, by their coordinates, through jgo, into the user's cache folder; a file gets its final name only
after its content was checked, and its content is checked again before each use. Where the cache cannot be written they
are fetched for this run alone. SPICE itself, METEOR and the tokenizer come with pycocoevalcap.
"""

import errno
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import remove_leftovers, scratch_folder, sha256
from vsd_utils.common.progress import Meter
from vsd_utils.metrics.java.cache import cache_folder, folder_of_this_run, say_once, set_aside

# What a failed download never reports, so the disk did.
_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO, errno.EACCES, errno.EPERM)


class JarError(VsdError):
    """An archive is missing and could not be fetched, or is not the one expected."""


class Jar(NamedTuple):
    """An archive by its Maven coordinates, with the SHA-256 of its content and its size in bytes."""

    group: str
    artifact: str
    version: str
    classifier: str
    digest: str
    size: int

    @property
    def name(self) -> str:
        """Name the file as in a Maven repository."""
        return "-".join(filter(None, (self.artifact, self.version, self.classifier))) + ".jar"

    @property
    def coordinates(self) -> str:
        """Write them as Maven does."""
        return ":".join(filter(None, (self.group, self.artifact, self.version, self.classifier)))


SPICE_JARS = (
    Jar(
        *("edu.stanford.nlp", "stanford-corenlp", "3.6.0", ""),
        *("d341d5863276f55782c5ef73212222d6b3b48e02ae1951ab6de7618d28b12742", 7_270_741),
    ),
    Jar(
        *("edu.stanford.nlp", "stanford-corenlp", "3.6.0", "models"),
        *("d285157bd7887ee3018094b5dbae092e49088b023361ccdb550ee1daf9b2c9bd", 378_116_526),
    ),
    Jar(
        *("org.mozilla", "rhino", "1.7.15", ""),
        *("2427fdcbc149ca0a25ccfbb7c71b01f39ad42708773a47816cd2342861766b63", 1407735),
    ),
)
# The authors' own command prints its scores through this; what is compared with it needs it.
SCRIPT_ENGINE = Jar(
    *("org.mozilla", "rhino-engine", "1.7.15", ""),
    *("b7bbb6724812a8ba6c650cf4a1e655a24af4d73a321add5a64a54c2d5963ce00", 19604),
)


def pycocoevalcap_folder() -> Path:
    """Find where pycocoevalcap lies, without importing it."""
    found = importlib.util.find_spec("pycocoevalcap")
    if found is None or not found.submodule_search_locations:
        raise JarError("pycocoevalcap is not installed; it ships the jars of SPICE, METEOR and the tokenizer.")
    return Path(next(iter(found.submodule_search_locations)))


def fetch_jars(wanted: tuple[Jar, ...] = SPICE_JARS, folder: Path | None = None) -> list[Path]:
    """Return the archives' paths; fetch first what ``folder`` (default: ``jars`` in the cache folder) lacks.

    Raises ``JarError`` with what to do when one can be had neither there nor from Maven Central, or has other content.
    """
    folder = folder or cache_folder() / "jars"
    paths = []
    for jar in wanted:
        path = folder / jar.name
        if not _sound(jar, path):
            try:
                _fetch(jar, path)
            except OSError as error:
                line = f"{folder}: SPICE's archives cannot be kept there ({error}); fetched for this run alone."
                say_once(line, f"archives in {folder}")
                path = folder_of_this_run() / jar.name
                if not _sound(jar, path):
                    _fetch_for_this_run(jar, path)
        paths.append(path)
    return paths


def _sound(jar: Jar, path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size == jar.size and sha256(path) == jar.digest
    except OSError:
        return False


def _fetch_for_this_run(jar: Jar, path: Path) -> None:
    try:
        _fetch(jar, path)
    except OSError as error:
        raise JarError(
            f"{path}: cannot be written either ({error}). Make room, or choose another cache folder with VSD_CACHE."
        ) from None


def _fetch(jar: Jar, path: Path) -> None:
    """Fetch one archive to ``path``; raises ``OSError`` when it cannot be written there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < jar.size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    remove_leftovers(path.parent)
    with scratch_folder(path) as staging:
        fetched = _download(jar, staging)
        if (digest := sha256(fetched)) != jar.digest:
            raise JarError(
                f"{jar.coordinates}: what was downloaded has SHA-256 {digest}, expected {jar.digest}. It was thrown "
                "away; try again, and if it happens again, look for a proxy that alters downloads."
            )
        if path.is_dir():
            set_aside(path)
        fetched.replace(path)


def _download(jar: Jar, repository: Path) -> Path:
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(PythonResolver(progress_callback=_shown), repo_cache=repository, timeout=30)
    try:
        component = context.project(jar.group, jar.artifact).at_version(jar.version)
        return Path(component.artifact(classifier=jar.classifier).resolve())
    except Exception as error:  # jgo passes on whatever its HTTP library raises.
        if isinstance(error, OSError) and error.errno in _NOT_WRITTEN:
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise JarError(
            f"{jar.coordinates} ({jar.size / 1e6:.0f} MB) is not in {repository.parent} and cannot be fetched from "
            f"Maven Central ({reason}). Connect once, or put the file {jar.name} (SHA-256 {jar.digest}) into that "
            "folder."
        ) from None


@contextmanager
def _shown(name: str, total: int) -> Iterator[Callable[[int], None]]:
    meter = Meter(f"{name} (MB)", round(total / 1e6))
    done = 0

    def update(count: int) -> None:
        nonlocal done
        done += count
        meter.at(done // 1_000_000)

    yield update
