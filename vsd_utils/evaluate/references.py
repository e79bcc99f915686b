"""The references that systems are scored against: annotations of one split, read once and handed down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsd_utils.common.errors import VsdError, shown
from vsd_utils.data.annotations import Item, load_items


@dataclass(frozen=True)
class References:
    """Annotation ``files`` of one split and their ``items``, by version (1, 2); which versions tasks 2 and 3 take."""

    files: Mapping[int, Path]
    items: Mapping[int, Sequence[Item]]
    task2: int = 1
    task3: int = 2

    def file(self, version: int) -> Path:
        """Give the file of a version; raises ``VsdError`` when it was not given."""
        if version not in self.files:
            raise VsdError(f"the VSDv{version} annotation file is needed and was not given")
        return self.files[version]

    def captions(self, version: int, items: Sequence[Item]) -> list[Sequence[str]]:
        """Give the captions of a version of each of ``items``, in their order.

        Raises ``VsdError`` when that version has no captions of an image, or captions without a word.
        """
        path = self.file(version)
        known = {item.img_id: item.captions for item in self.items[version]}
        if missing := [item.img_id for item in items if item.img_id not in known]:
            raise VsdError(
                f"{path}: has no captions for image {missing[0]!r} ({len(missing)} such); are these of one split?"
            )
        if silent := [item.img_id for item in items if not any(map(str.isalnum, "".join(known[item.img_id])))]:
            raise VsdError(
                f"{path}: the references of {len(silent)} of {len(items)} images are placeholders: their captions hold "
                f"no words, image {silent[0]!r} has {shown(known[silent[0]][0])}. Take the annotated file."
            )
        return [known[item.img_id] for item in items]


def load_references(v1: Path, v2: Path | None = None, task2: int = 1, task3: int = 2) -> References:
    """Read the annotation files of a split; ``task2`` and ``task3`` are the versions that these tasks take.

    Raises ``VsdError`` when a file cannot be used.
    """
    files = {1: v1} if v2 is None else {1: v1, 2: v2}
    return References(files, {version: load_items(path) for version, path in files.items()}, task2, task3)


def fact_of(item: Item) -> tuple[str, str, frozenset[str]]:
    """Name the pair that tasks 2 and 3 are about, the first triple's, and all relations annotated for it."""
    asked = item.triple_list[0]
    same = (
        t for t in item.triple_list if (t.s, t.o, t.s_bbox, t.o_bbox) == (asked.s, asked.o, asked.s_bbox, asked.o_bbox)
    )
    return asked.s, asked.o, frozenset(triple.p for triple in same)
