"""Mend DVC's own files after DVC was killed while it wrote them: it writes in place, and then refuses what it finds.

`make repro` calls this first; it says what it mended, or nothing. Nothing is lost: a stage that is missing in
``dvc.lock`` and was finished comes back from DVC's run cache.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from vsd_utils.common.files import write_text
from vsd_utils.common.params import yaml_reader
from vsd_utils.common.paths import ROOT

_SECONDS_TO_WRITE = 1.0  # after which a file that was broken is not being written by a living DVC


def mend(root: Path = ROOT) -> list[str]:
    """Mend what a killed DVC has left half-written in a checkout, and return a line about each file."""
    mended = []
    lock, locks, runs = root / "dvc.lock", root / ".dvc" / "tmp" / "rwlock", root / ".dvc" / "cache" / "runs"
    if _is_broken(lock, _check_lock):
        committed = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=root, capture_output=True, text=True)
        if committed.returncode:
            lock.unlink()
        else:
            write_text(lock, committed.stdout)
        mended.append(f"{lock.name}: was cut short by a kill; finished stages come back from the run cache")
    if _is_broken(locks, json.loads):
        locks.unlink()
        mended.append(f"{locks.relative_to(root)}: was cut short by a kill; removed")
    # From the deepest on: a folder may hold nothing but empty ones.
    for folder in sorted((path for path in runs.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return mended


def _is_broken(path: Path, check: Callable[[str], object]) -> bool:
    for seconds in (_SECONDS_TO_WRITE, 0.0):
        try:
            check(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return False
        except ValueError:
            time.sleep(seconds)
        else:
            return False
    return True


def _check_lock(text: str) -> None:
    # As DVC reads it, by its own schema.
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from ruamel.yaml.error import YAMLError
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml_reader().load(text))
    except (YAMLError, Invalid) as error:
        raise ValueError(str(error)) from None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(given: argparse.Namespace) -> int:
    """Mend this checkout and say what was mended."""
    for line in mend():
        print(line)
    return 0
