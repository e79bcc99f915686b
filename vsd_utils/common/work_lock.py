"""One stage at a time in a checkout: two would write the same checkpoints, answers and outputs.

The operating system holds the lock for as long as the process lives, so a process that was killed blocks nobody. It is
a lock of the one process, not of its children, which Python's and torch's workers would take with them.
"""

import datetime
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import remove_leftovers
from vsd_utils.common.paths import CLEAN_NOTEBOOKS, DATA, EXECUTED_NOTEBOOKS, MODELS, REPORTS, WORK

LOCK = WORK / "lock"
_FAR = 1 << 30  # where Windows locks a byte, far from the text, which others are to read


@contextmanager
def held(stage: str, path: Path = LOCK) -> Iterator[None]:
    """Hold the lock while ``stage`` runs; parts of files that killed processes have left are removed first.

    Raises ``VsdError`` that says which process has it, since when, and what to do.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            raise VsdError(_problem(path, error)) from None
        file.truncate(0)
        holder = {"stage": stage, "process": os.getpid(), "host": socket.gethostname(), "since": _now()}
        file.write(json.dumps(holder))
        file.flush()
        remove_leftovers(DATA, MODELS, REPORTS, CLEAN_NOTEBOOKS, EXECUTED_NOTEBOOKS)
        yield
        file.truncate(0)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, _FAR, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _problem(path: Path, error: OSError) -> str:
    if not isinstance(error, (BlockingIOError, PermissionError)):
        return f"{path}: cannot be locked ({error}). Let `work` lie on a file system with locks."
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        who = "stage {stage} is running in this checkout (process {process} on {host}, since {since})".format(**holder)
    except (OSError, ValueError, KeyError):
        who = "a stage is running in this checkout"
    return f"{who}. Wait until it has ended, or end that process; the same command then goes on where it was."


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(" ", "seconds")
