"""Reading and writing the project's files; nothing is ever left half written."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from vsd_utils.common.errors import VsdError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes the place of ``path``, on an error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _part(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Make the folder of a file that is to be written, before the long work whose result it takes.

    Raises ``VsdError`` when the file could not be written, or is one of ``inputs``, by whatever path or link.
    """
    try:
        if path.exists() and not path.is_file():
            raise VsdError(f"{path}: is a folder or a device; expected the path of a file to write")
        for other in inputs:
            if path.exists() and other.exists() and path.samefile(other):
                raise VsdError(f"{path}: would be overwritten, but is also read, as {other}. Choose another output.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _part(path)
        temporary.touch()
        temporary.unlink()
    except (OSError, RuntimeError) as error:
        raise VsdError(f"{path}: cannot be written ({error}). Choose another output.") from None


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path``; on success it takes the place of ``path``, on an error it is removed."""
    with scratch_folder(path) as temporary:
        yield temporary
        remove(path)
        temporary.replace(path)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside ``path``, named after it; it is removed in the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _part(path)
    remove(temporary)
    temporary.mkdir()
    try:
        yield temporary
    finally:
        remove(temporary)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        # Under another name first, so that a kill leaves no half of it under this one.
        shutil.rmtree(path.rename(_part(path.with_name(f"{path.name}.old"))))
    else:
        path.unlink(missing_ok=True)


def remove_leftovers(*folders: Path) -> None:
    """Remove what killed processes have left in ``folders`` of what they were writing or removing."""
    for path in (path for folder in folders if folder.is_dir() for path in folder.iterdir()):
        found = _PART.fullmatch(path.name)
        if found and not psutil.pid_exists(int(found[1])):
            remove(path)


_PART = re.compile(r"\..+\.(\d+)\.part")


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with a final line break; NaN and infinity are refused (``ValueError``)."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write one JSON document a line and return how many were written."""
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for count, row in enumerate(rows, 1):  # noqa: B007
            file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
    return count


def read_json(path: Path) -> Any:
    """Parse one JSON file in UTF-8, UTF-16 or UTF-32.

    Raises ``VsdError`` that names the file, with line, column and what to do, when it is missing or no JSON, NaN and
    infinity included.
    """
    text = _read(path)
    try:
        return _parsed(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise VsdError(f"{path}: not JSON, {place}: {error.msg}. {_hint(text, error)}".rstrip()) from None
    except ValueError as error:
        raise VsdError(f"{path}: not JSON: {error}.") from None


def read_jsonl(path: Path) -> list[Any]:
    """Parse a JSON-lines file; raises ``VsdError`` naming file and line."""
    rows = []
    # Not str.splitlines(): a caption may hold U+2028, which JSON leaves as it is.
    for number, line in enumerate(_read(path).split("\n"), 1):
        if line.strip():
            try:
                rows.append(_parsed(line))
            except json.JSONDecodeError as error:
                raise VsdError(f"{path}, line {number}: not JSON ({error.msg})") from None
            except ValueError as error:
                raise VsdError(f"{path}, line {number}: not JSON: {error}.") from None
    return rows


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise VsdError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise VsdError(f"{path}: cannot be read ({error})") from None
    encoding = json.detect_encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise VsdError(f"{path}: cannot be read as {encoding.upper()} text ({error}). Save it as UTF-8.") from None


def _parsed(text: str) -> Any:
    """Parse one document; ``ValueError`` with the reason when the standard library cannot take it."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("brackets are nested deeper than any file of this kind has them") from None
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        reason = "a number has too many digits" if "digits" in str(error) else str(error)
        raise ValueError(reason) from None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value; expected a number, or null")


def _hint(text: str, error: json.JSONDecodeError) -> str:
    """Say what to do about it; the empty string where that is not known."""
    before, after = text[: error.pos].rstrip(), text[error.pos :].lstrip()
    if not text.strip():
        return "The file is empty."
    if text.lstrip().startswith("<"):
        return "This looks like a web page: download the file itself."
    if after[:1] in ("]", "}") and before.endswith(","):
        line = before.count("\n") + 1
        return f"There is a trailing comma before {after[0]!r} in line {line}: take it out."
    if after[:1] == "," and after[1:].lstrip()[:1] in ("]", "}"):
        line = text[: error.pos].count("\n") + 1
        return f"There is a trailing comma before {after[1:].lstrip()[0]!r} in line {line}: take it out."
    if error.msg == "Extra data" and after[0] in "[{" and "\n" in text[len(before) : error.pos]:
        return "This looks like JSON lines: one document a line; join them into one list."
    if not after or error.msg.startswith("Unterminated string"):
        return "Was the download cut short?"
    return ""


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
