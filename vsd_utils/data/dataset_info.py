"""Where the annotations of a run come from, as ``fetch`` wrote it down for the stages and reports that say so."""

from pathlib import Path
from typing import Any

from vsd_utils.common.files import read_json
from vsd_utils.common.paths import ANNOTATIONS, ROOT, user_path

SOURCE = "source.json"
LEFT_OUT = "left_out.json"


def read(root: Path = ANNOTATIONS) -> dict[str, Any]:
    """Read ``source.json``.

    It holds ``source`` (scenes or folder), ``images`` and ``left_out`` (numbers by split; those left out of an own
    split count where they came from), ``photos`` (folder or None), ``files`` (digests); of a folder also ``own_split``
    (whether the split was made here), ``own_split_asked`` (the parameter), ``not_drawn`` (usable images of each split
    outside of the share that was asked for).
    """
    record: dict[str, Any] = read_json(root / SOURCE)
    return record


def photo_folder(record: dict[str, Any]) -> Path | None:
    """Find the pictures that the boxes are drawn on; None for boxes on an empty canvas.

    Rendered scenes are this run's own: in one of DVC's temporary copies of a checkout they are the copy's, while a
    user's folder of photos is found from the checkout.
    """
    if record["source"] == "scenes":
        return ROOT / str(record["photos"])
    return user_path(record["photos"]) if record["photos"] else None


def left_out(root: Path = ANNOTATIONS) -> list[str]:
    """List what was wrong with each image that is left out: "img_id '7': this; and that"."""
    if not (root / LEFT_OUT).is_file():  # rendered scenes
        return []
    rows = [row for split in read_json(root / LEFT_OUT).values() for row in split]
    return [f"img_id {row['img_id']!r}: {'; '.join(row['problems'])}" for row in rows]


def describe(record: dict[str, Any]) -> str:
    """One clause for reports: what data a run was made on."""
    if record["source"] == "scenes":
        return "rendered scenes of the embedded renderer"
    kind = "the authors' files" if record["authors_files"] else "files that are not the authors', by their digests"
    split = "split here by image" if record["own_split"] else "the authors' splits"
    if record["own_split"] and record["own_split_asked"] == "if_needed":
        split += ", because the authors' train and test files were not there"
    if any(record["not_drawn"].values()):
        split = f"a share, drawn by seed, of each split; {split}"
    photos = "photos" if record["photos"] else "boxes on an empty canvas, no photos"
    return f"VSD annotations ({kind}, {split}; {photos})"
