"""Long work in batches that may be killed at any moment and goes on where it was, to the bytes of an unkilled run.

Finished rows wait below ``work``, in a folder named by a fingerprint of all that they depend on, one JSON line each. A
run that finds the folder does what is left; one with other parameters or data finds none and starts anew. The caller
writes the rows to their place when all are there, and removes the folder last.
"""

import hashlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_jsonl, sha256, write_jsonl
from vsd_utils.common.paths import WORK
from vsd_utils.common.progress import steps

Row = dict[str, Any]


def unfinished_folder(stage: str, parameters: Any, *inputs: Path) -> Path:
    """Name the folder where unfinished work of a stage with these parameters and input files or folders waits."""
    return WORK / stage / fingerprint(parameters, *inputs)


def fingerprint(parameters: Any, *paths: Path) -> str:
    """Digest parameters and the content of files and folders, as 16 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()[:16]


def finish_batches(
    batches: Sequence[Sequence[Row]],
    work: Callable[[Sequence[Sequence[Row]]], Iterable[Sequence[Row]]],
    unfinished: Path,
    key: Callable[[Row], Hashable] = itemgetter("id"),
) -> dict[Hashable, Row]:
    """Do the batches that a killed run left, and return the finished rows of all batches by their ``key``.

    ``work`` is given the batches that are left and yields the finished rows of each, in turn; ``key`` tells rows apart,
    before and after. Rows are kept in ``unfinished`` batch by batch. A batch of which only a part is there is done
    again as a whole, since a row may depend on what else is in its batch; ``batches`` therefore have to be the same
    ones in each run. Progress is shown under the file's name.
    """
    # 1. What a killed run finished.
    finished = {key(row): row for row in mend_jsonl(unfinished)}
    # 2. What it left, whole batches.
    left = [batch for batch in batches if any(key(row) not in finished for row in batch)]
    # 3. That, safe on disk after each batch; a row that was there before stays as it is.
    for rows in steps(work(left), unfinished.stem, len(batches), len(batches) - len(left)):
        new = [row for row in rows if key(row) not in finished]
        append_jsonl(unfinished, new)
        finished |= {key(row): row for row in new}
    return finished


def part(unfinished: Path, number: int) -> Path:
    """Name the file of unfinished rows of process ``number`` where several share the work of one."""
    return unfinished.with_name(f"{unfinished.stem}.{number}{unfinished.suffix}")


def merge_parts(unfinished: Path, processes: int, asked: Sequence[Row], key: Callable[[Row], Hashable]) -> None:
    """Write the rows of all processes' parts to ``unfinished``, in the order of ``asked``, whole or not at all.

    Raises ``VsdError`` unless each row that was ``asked`` for is there, once.
    """
    rows = [row for number in range(processes) for row in mend_jsonl(part(unfinished, number))]
    found = {key(row): row for row in rows}
    wanted = [key(row) for row in asked]
    if len(rows) != len(found) or found.keys() != set(wanted):
        raise VsdError(
            f"{unfinished.parent}: {processes} processes left {len(rows)} rows, {len(found)} different ones, where "
            f"{len(wanted)} were asked for. Remove that folder and start again."
        )
    write_jsonl(unfinished, [found[name] for name in wanted])


def batches_of(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """Cut rows into batches of ``size``, in their order; the last one may be smaller."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def append_jsonl(path: Path, rows: Iterable[Any]) -> None:
    """Append rows and force them to disk, so that a kill at any moment loses at most a partial last line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))
        file.flush()
        os.fsync(file.fileno())


def mend_jsonl(path: Path) -> list[Any]:
    """Read a file that ``append_jsonl`` was writing when it was killed; a partial last line is cut off."""
    if not path.is_file():
        return []
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
    return read_jsonl(path)
