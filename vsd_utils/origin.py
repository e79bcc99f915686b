"""Where the annotations of a run come from: what ``fetch`` wrote down, for the stages and reports that say so."""

from pathlib import Path
from typing import Any

from vsd_utils.files import read_json
from vsd_utils.paths import ANNOTATIONS

SOURCE = "source.json"


def read(root: Path = ANNOTATIONS) -> dict[str, Any]:
    """Content of ``source.json``: ``source``, ``images`` by split, ``photos`` (folder or None), ``files`` (digests)."""
    record: dict[str, Any] = read_json(root / SOURCE)
    return record


def describe(record: dict[str, Any]) -> str:
    """One clause for reports: what data a run was made on."""
    if record["source"] == "scenes":
        return "rendered scenes (vsd_utils/scenes.py)"
    kind = "the authors' files" if record["authors_files"] else "files that are not the authors', by their digests"
    split = "split here by image" if record["own_split"] else "the authors' splits"
    photos = "photos" if record["photos"] else "boxes on an empty canvas, no photos"
    return f"VSD annotations ({kind}, {split}; {photos})"
