"""What an audit of the metrics is made from: the images, their captions edited, and checkers that never saw them.

A person's caption is scored against the image's other captions, and so are copies of it with one thing wrong
(``audit_edits.py``); ``audit_scores.py`` scores them, ``audit_tables.py`` and ``audit_ranking.py`` make the tables.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256
from vsd_utils.common.paths import annotation_file
from vsd_utils.data import conversations, samples
from vsd_utils.data.annotations import Item, Versions, load_items, load_versions
from vsd_utils.data.splits import drawn_share
from vsd_utils.evaluate.audit_edits import EditedCaption, edit_captions
from vsd_utils.evaluate.audit_scores import PARTS, HeldOutCheckers, held_out_checkers


class Audited(NamedTuple):
    """Hold the images, the captions of VSDv1 and VSDv2 edited (``captions["v1"]``), and the checkers.

    ``line`` says where all numbers come from: files with their digests, images, checkers, seed.
    """

    images: Sequence[Versions]
    captions: Mapping[str, Sequence[EditedCaption]]
    checkers: HeldOutCheckers
    line: str

    @property
    def img_ids(self) -> list[str]:
        """List the images."""
        return [image.v1.img_id for image in self.images]


def audited_files(folder: Path, split: str) -> list[Path]:
    """Find VSDv1's and VSDv2's file of a split; raises ``VsdError`` where one is not there."""
    files = [annotation_file(version, split, folder) for version in (1, 2)]
    if absent := [path for path in files if not path.is_file()]:
        raise VsdError(
            f"{absent[0]}: is not there. `vsd profile boxes`, then `vsd fetch` brings the authors' files into "
            "sources/vsd; or name another folder with VSDv1 and VSDv2: --annotations FOLDER"
        )
    return files


def prepare(folder: Path, split: str, image_count: int | None, seed: int) -> Audited:
    """Read the files, draw ``image_count`` images (None: all), edit their captions and train the learned checker.

    It is trained on the training file's captions where that is there, else on the images that were not drawn, else on
    these in parts, each read by the one trained on the others. Raises ``VsdError`` for files that cannot be used and
    for fewer images than parts.
    """
    # 1. The images.
    files = audited_files(folder, split)
    if image_count is not None and image_count < PARTS:
        raise VsdError(f"{image_count} images: expected {PARTS} at least, or none named, for all")
    images = load_versions(*files)
    everywhere = len(images)
    undrawn: list[Item] = []
    if image_count is not None:
        chosen = drawn_share([image.v1.img_id for image in images], image_count, seed)
        undrawn = [image.v1 for image in images if image.v1.img_id not in chosen]
        images = [image for image in images if image.v1.img_id in chosen]
    # 2. Checkers that have not seen them.
    train_file = annotation_file(1, "train", folder)
    train = load_items(train_file) if split != "train" and train_file.is_file() else None
    first = [image.v1 for image in images]
    checkers = held_out_checkers(first, seed, train or undrawn or None)
    trained = (
        f"on {train_file.parent.name}/{train_file.name}"
        if train is not None
        else f"on the v1 captions of the other {len(undrawn):,} images of that file"
        if undrawn
        else f"on the v1 captions of these images in {PARTS} parts, each read by the one trained on the others"
    )
    # 3. Captions of both versions, which are scored against v1's other captions.
    known = [item.captions for item in first]
    written = {"v1": known, "v2": [image.v2.captions for image in images]}
    captions = {name: edit_captions(first, texts, known, seed) for name, texts in written.items()}
    named = ", ".join(f"{path.parent.name}/{path.name} (sha256 {sha256(path)[:10]})" for path in files)
    line = (
        f"Data: the VSD authors' {named}; {len(images):,} of {everywhere:,} images, of which those with one triple "
        f"are used, one caption of each. Learned checker: trained {trained}. Seed {seed}."
    )
    return Audited(images, captions, checkers, line)


def conversations_of(audited: Audited) -> list[dict[str, Any]]:
    """Make the conversations of all three tasks about the images, as LLaVA records, for the template check."""
    return [
        conversations.llava_record(conversation)
        for image in audited.images
        for conversation in conversations.converse(samples.outline(image, "val", (1, 1)), 0)
    ]
