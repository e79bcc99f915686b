"""Which annotated images a run can use: decided once, where the annotations enter; nobody downstream decides again.

An image is used when it is valid in both versions of the annotations, stands in one split only, holds no control token
of a language model in a name or caption, and has a photo of its own that can be read and holds its boxes.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from vsd_utils.common.errors import VsdError, listed
from vsd_utils.common.params import Fetch
from vsd_utils.common.paths import annotation_file, user_path
from vsd_utils.common.progress import steps
from vsd_utils.data import photos
from vsd_utils.data.annotations import SPLITS, Item, Unusable, read_items, read_pairs
from vsd_utils.data.control_tokens import shaped_like_tokens
from vsd_utils.data.images import canvas_size, check_boxes, named_boxes

Pairs = list[tuple[Item, Item]]
SKIP = "Mend them, or set fetch.skip_invalid=true: such images are then left out, counted and named in the report."
_THREADS = 8  # more than processors, because photos often lie on slow disks


class Admission(NamedTuple):
    """By split: the usable images, the unusable ones with all that is wrong, and ids whose photo is missing.

    The missing ones are apart because they may be thousands of one cause.
    """

    pairs: dict[str, Pairs]
    unusable: dict[str, list[Unusable]]
    missing: dict[str, list[str]]

    def leave_out(self, split: str, problems: Mapping[str, list[str]]) -> None:
        """Move the images that have problems, by their ids, from the usable ones to the others."""
        self.pairs[split][:] = [pair for pair in self.pairs[split] if not problems.get(pair[0].img_id)]
        self.unusable[split] += [Unusable(img_id, tuple(found)) for img_id, found in problems.items() if found]


def survey(settings: Fetch, every_pixel: bool) -> tuple[Admission, list[str]]:
    """Sort out the images of all splits, and say in lines for the user what stands in the way of a run.

    Without such lines the run can start with the images that are admitted. ``every_pixel``: see ``admit``.
    """
    found = []
    readable = []
    for split, paths in source_files(settings).items():
        broken = [problem for path in paths if (problem := _file_problem(path))]
        found += broken
        readable += [] if broken else [split]
    if settings.photos is not None and not user_path(settings.photos).is_dir():
        found.append(f"{user_path(settings.photos)}: no such folder of photos. Set fetch.photos to where they are.")
        settings = settings.model_copy(update={"photos": None})
    admitted = admit(settings, readable, every_pixel)
    return admitted, found + complaints(admitted, settings)


def source_files(settings: Fetch) -> dict[str, tuple[Path, Path]]:
    """Name the VSDv1 and the VSDv2 file of each split in the user's folder; with ``own_split`` the val files alone."""
    folder = user_path(str(settings.annotations))
    used = ("val",) if settings.own_split else SPLITS
    return {split: (annotation_file(1, split, folder), annotation_file(2, split, folder)) for split in used}


def admit(settings: Fetch, splits: Iterable[str], every_pixel: bool) -> Admission:
    """Sort the images of ``splits`` into usable and unusable ones.

    Of photos the headers are read, or ``every_pixel``, which finds the files that were cut short too. Raises
    ``VsdError`` for an annotation file or a photo folder that cannot be read at all.
    """
    files = source_files(settings)
    admitted = Admission({}, {}, {})
    for split in splits:
        admitted.pairs[split], admitted.unusable[split] = read_pairs(*files[split])
        admitted.missing[split] = []
        admitted.leave_out(split, _control_tokens(admitted.pairs[split], files[split]))
    _keep_in_one_split(admitted)
    if settings.photos is None:
        for split, pairs in admitted.pairs.items():
            admitted.leave_out(split, _huge_canvases(pairs))
    else:
        _find_photos(admitted, user_path(settings.photos), every_pixel)
    return admitted


def complaints(admitted: Admission, settings: Fetch) -> list[str]:
    """Say what cannot be used; nothing where all can, or where the rest may be left out and no split is then empty."""
    unusable = [problem for rows in admitted.unusable.values() for one in rows for problem in one.problems]
    missing = [img_id for ids in admitted.missing.values() for img_id in ids]
    empty = [f"split {split}: no image is left that can be used" for split, rows in admitted.pairs.items() if not rows]
    if settings.skip_invalid and not empty:
        return []
    found = [*empty]
    if missing:
        found.append(
            f"{user_path(str(settings.photos))}: {len(missing):,} photos are missing: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. They come from Visual Genome, "
            "SpatialSense (Flickr) and NYU (Zenodo record 8104370)."
        )
    if unusable:
        found.append(listed(unusable))
    return found if settings.skip_invalid or not found else [*found, SKIP]


def left_out(admitted: Admission, settings: Fetch) -> dict[str, list[dict[str, Any]]]:
    """List by split every image that is left out: ``{"img_id": "7" (None where it has none), "problems": [...]}``.

    Files are named as the parameters name their folders, the same from wherever the checkout lies.
    """
    folders = [folder for folder in (settings.annotations, settings.photos) if folder]
    rows: dict[str, list[dict[str, Any]]] = {}
    for split, unusable in admitted.unusable.items():
        rows[split] = []
        by_id: dict[str, list[str]] = {}
        for one in unusable:
            problems = [_as_written(folders, problem) for problem in one.problems]
            if one.img_id in by_id:
                by_id[one.img_id] += problems
                continue
            rows[split].append({"img_id": one.img_id, "problems": problems})
            if one.img_id is not None:
                by_id[one.img_id] = problems
        rows[split] += [{"img_id": img_id, "problems": ["no such photo"]} for img_id in admitted.missing[split]]
    return rows


def _file_problem(path: Path) -> str | None:
    if not path.is_file():
        return (
            f"{path}: no such annotation file. Take it from dataset/ of github.com/zhaoyucs/VSD, or set "
            "fetch.annotations"
        )
    try:
        read_items(path)
    except VsdError as error:
        return str(error)
    return None


def _control_tokens(pairs: Pairs, files: tuple[Path, Path]) -> dict[str, list[str]]:
    return {
        first.img_id: [
            f"{path}, img_id {item.img_id!r}: {field}: holds {token!r}, which a language model reads as a control "
            "token, not as text"
            for item, path in zip((first, second), files, strict=True)
            for field, token in shaped_like_tokens(item)
        ]
        for first, second in pairs
    }


def _keep_in_one_split(admitted: Admission) -> None:
    # What is tested on stays with the test: a model that was trained on it would only have to remember.
    seen: dict[str, str] = {}
    for split in (name for name in reversed(SPLITS) if name in admitted.pairs):
        ids = [first.img_id for first, _ in admitted.pairs[split]]
        double = {
            img_id: [f"img_id {img_id!r}: stands in the splits {split} and {seen[img_id]}; an image belongs to one"]
            for img_id in ids
            if img_id in seen
        }
        admitted.leave_out(split, double)
        seen |= {img_id: split for img_id in ids if img_id not in double}


def _huge_canvases(pairs: Pairs) -> dict[str, list[str]]:
    found = {}
    for item, _ in pairs:
        width, height = canvas_size(named_boxes(item.triple_list).values(), 0)
        if photos.too_large(width, height):
            found[item.img_id] = [f"img_id {item.img_id!r}: no photo is as large as its boxes, {width} x {height}"]
    return found


def _find_photos(admitted: Admission, folder: Path, every_pixel: bool) -> None:
    index = photos.index_photos(folder)
    for split, pairs in admitted.pairs.items():
        admitted.missing[split] += [item.img_id for item, _ in pairs if item.img_id not in index]
        pairs[:] = [pair for pair in pairs if pair[0].img_id in index]
    wanted = [(split, item) for split, pairs in admitted.pairs.items() for item, _ in pairs]
    problems: dict[str, dict[str, list[str]]] = {split: {} for split in admitted.pairs}
    found: dict[str, Path] = {}

    def look(item: Item) -> Path | str:
        try:
            path = photos.photo_of(item.img_id, folder, index)
            size = photos.open_photo(path).size if every_pixel else photos.photo_size(path)
            check_boxes(size, named_boxes(item.triple_list), f"{path}, img_id {item.img_id!r}")
        except VsdError as error:
            return str(error)
        return path

    with ThreadPoolExecutor(_THREADS) as pool:
        looks = pool.map(look, (item for _, item in wanted))
        what = "photos read whole" if every_pixel else "photos looked at"
        for (split, item), result in zip(wanted, steps(looks, what, len(wanted)), strict=True):
            if isinstance(result, str):
                problems[split][item.img_id] = [result]
            else:
                found[item.img_id] = result
    split_of = {item.img_id: split for split, item in wanted}
    for ids in photos.same_pictures(found):
        for img_id in ids:
            others = [other for other in ids if other != img_id]
            problems[split_of[img_id]][img_id] = [
                f"{found[img_id]}, img_id {img_id!r}: the same picture as that of {', '.join(map(repr, others[:5]))}"
                f"{', ...' if len(others) > 5 else ''}, byte for byte: a placeholder for photos that are gone?"
            ]
    for split, by_id in problems.items():
        admitted.leave_out(split, by_id)


def _as_written(folders: list[str], text: str) -> str:
    for folder in folders:
        text = text.replace(str(user_path(folder)), folder)
    return text
