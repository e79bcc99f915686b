"""Decide which annotated images a run can use: once, where the annotations enter, and nowhere downstream again.

An image is used when it is valid in both versions of the annotations, stands in one split only, holds no control token
of a language model in a name or caption, and has a photo of its own that can be read and holds its boxes.
"""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from vsd_utils.common.errors import VsdError, listed
from vsd_utils.common.paths import annotation_file, user_path
from vsd_utils.common.progress import steps
from vsd_utils.common.sections import Fetch
from vsd_utils.data import photos
from vsd_utils.data.annotations import SPLITS, Item, Unusable, Versions, read_items, read_versions
from vsd_utils.data.control_tokens import shaped_like_tokens
from vsd_utils.data.images import canvas_size, check_boxes, named_boxes

SKIP = "Mend them, or set fetch.skip_invalid=true: such images are then left out, counted and named in the report."
_THREADS = 8  # more than processors, because photos often lie on slow disks


class Admission(NamedTuple):
    """Hold by split the usable images, the unusable ones with all that is wrong, and the ids whose photo is missing.

    The missing ones are apart because they may be thousands of one cause.
    """

    usable: dict[str, list[Versions]]
    unusable: dict[str, list[Unusable]]
    without_photo: dict[str, list[str]]

    def leave_out(self, split: str, problems: Mapping[str, list[str]]) -> None:
        """Move the images that have ``problems`` (id -> problems, perhaps none) from the usable ones to the others."""
        self.usable[split][:] = [one for one in self.usable[split] if not problems.get(one.v1.img_id)]
        self.unusable[split] += [Unusable(img_id, tuple(found)) for img_id, found in problems.items() if found]


def survey(settings: Fetch, every_pixel: bool) -> tuple[Admission, list[str]]:
    """Sort the images of all splits, and say in lines for the user what stands in the way of a run.

    Without such lines the run can start with the images that are admitted. ``every_pixel``: see ``admit``. Raises
    nothing for bad input: whatever is wrong with files, folders and images is a line.
    """
    # 1. Files that cannot be read at all; their splits are passed over, so that the others are still looked at.
    obstacles = []
    readable_splits = []
    for split, paths in source_files(settings).items():
        broken_files = [problem for path in paths if (problem := _file_problem(path))]
        obstacles += broken_files
        readable_splits += [] if broken_files else [split]
    # 2. The folder of photos; without it the annotations are still looked at.
    if settings.photos is not None and not user_path(settings.photos).is_dir():
        obstacles.append(f"{user_path(settings.photos)}: no such folder of photos. Set fetch.photos to where they are.")
        settings = settings.model_copy(update={"photos": None})
    # 3. The images themselves.
    admission = admit(settings, readable_splits, every_pixel)
    return admission, obstacles + complaints(admission, settings)


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
    admission = Admission({}, {}, {})
    # 1. The annotations of each split: valid in both versions, no control tokens.
    for split in splits:
        admission.usable[split], admission.unusable[split] = read_versions(*files[split])
        admission.without_photo[split] = []
        admission.leave_out(split, _control_tokens(admission.usable[split], files[split]))
    # 2. The splits together: an image belongs to one.
    _keep_in_one_split(admission)
    # 3. What the boxes are drawn on: the photos, or empty canvases as large as the boxes ask for.
    if settings.photos is None:
        for split, images in admission.usable.items():
            admission.leave_out(split, _huge_canvases(images))
    else:
        _look_at_photos(admission, user_path(settings.photos), every_pixel)
    return admission


def complaints(admission: Admission, settings: Fetch) -> list[str]:
    """Say what cannot be used; nothing where all can, or where the rest may be left out and no split is then empty."""
    problems = [problem for images in admission.unusable.values() for image in images for problem in image.problems]
    missing = [img_id for ids in admission.without_photo.values() for img_id in ids]
    empty_splits = [split for split, images in admission.usable.items() if not images]
    if settings.skip_invalid and not empty_splits:
        return []
    lines = [f"split {split}: no image is left that can be used" for split in empty_splits]
    if missing:
        lines.append(
            f"{user_path(str(settings.photos))}: {len(missing):,} photos are missing: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. They come from Visual Genome, "
            "SpatialSense (Flickr) and NYU (Zenodo record 8104370)."
        )
    if problems:
        lines.append(listed(problems))
    return lines if settings.skip_invalid or not lines else [*lines, SKIP]


def left_out(admission: Admission, settings: Fetch) -> dict[str, list[dict[str, Any]]]:
    """List by split every image that is left out: ``{"img_id": "7" (None where it has none), "problems": [...]}``.

    Files are named as the parameters name their folders, the same from wherever the checkout lies.
    """
    folders = [folder for folder in (settings.annotations, settings.photos) if folder]
    rows: dict[str, list[dict[str, Any]]] = {}
    for split, unusable in admission.unusable.items():
        rows[split] = []
        by_id: dict[str, list[str]] = {}
        for image in unusable:
            problems = [_as_written(folders, problem) for problem in image.problems]
            if image.img_id in by_id:
                by_id[image.img_id] += problems
                continue
            rows[split].append({"img_id": image.img_id, "problems": problems})
            if image.img_id is not None:
                by_id[image.img_id] = problems
        rows[split] += [{"img_id": img_id, "problems": ["no such photo"]} for img_id in admission.without_photo[split]]
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


def _control_tokens(images: list[Versions], files: tuple[Path, Path]) -> dict[str, list[str]]:
    return {
        versions.v1.img_id: [
            f"{path}, img_id {item.img_id!r}: {field}: holds {token!r}, which a language model reads as a control "
            "token, not as text"
            for item, path in zip(versions, files, strict=True)
            for field, token in shaped_like_tokens(item)
        ]
        for versions in images
    }


def _keep_in_one_split(admission: Admission) -> None:
    # What is tested on stays with the test: a model that was trained on it would only have to remember.
    split_of: dict[str, str] = {}
    for split in (name for name in reversed(SPLITS) if name in admission.usable):
        ids = [versions.v1.img_id for versions in admission.usable[split]]
        repeated = {
            img_id: [f"img_id {img_id!r}: stands in the splits {split} and {split_of[img_id]}; an image belongs to one"]
            for img_id in ids
            if img_id in split_of
        }
        admission.leave_out(split, repeated)
        split_of |= {img_id: split for img_id in ids if img_id not in repeated}


def _huge_canvases(images: list[Versions]) -> dict[str, list[str]]:
    problems = {}
    for item, _ in images:
        width, height = canvas_size(named_boxes(item.triple_list).values(), 0)
        if photos.too_large(width, height):
            problems[item.img_id] = [f"img_id {item.img_id!r}: no photo is as large as its boxes, {width} x {height}"]
    return problems


def _look_at_photos(admission: Admission, folder: Path, every_pixel: bool) -> None:
    photo_folder = photos.index_photos(folder)
    # 1. Images without a photo.
    for split, images in admission.usable.items():
        ids = [versions.v1.img_id for versions in images]
        admission.without_photo[split] += [img_id for img_id in ids if img_id not in photo_folder.paths]
        images[:] = [versions for versions in images if versions.v1.img_id in photo_folder.paths]
    split_items = [(split, versions.v1) for split, images in admission.usable.items() for versions in images]
    problems: dict[str, dict[str, list[str]]] = {split: {} for split in admission.usable}
    path_of: dict[str, Path] = {}

    # 2. Photos that cannot be read, several of one id that differ, boxes outside the photo.
    def path_or_problem(item: Item) -> Path | str:
        try:
            path = photos.photo_of(item.img_id, photo_folder)
            size = photos.open_photo(path).size if every_pixel else photos.photo_size(path)
            check_boxes(size, named_boxes(item.triple_list), f"{path}, img_id {item.img_id!r}")
        except VsdError as error:
            return str(error)
        return path

    with ThreadPoolExecutor(_THREADS) as pool:
        looks = pool.map(path_or_problem, (item for _, item in split_items))
        name = "photos read whole" if every_pixel else "photos looked at"
        for (split, item), found in zip(split_items, steps(looks, name, len(split_items)), strict=True):
            if isinstance(found, str):
                problems[split][item.img_id] = [found]
            else:
                path_of[item.img_id] = found
    # 3. Photos of several images with the same bytes.
    split_of = {item.img_id: split for split, item in split_items}
    for ids in photos.same_pictures(path_of):
        for img_id in ids:
            others = [other for other in ids if other != img_id]
            problems[split_of[img_id]][img_id] = [
                f"{path_of[img_id]}, img_id {img_id!r}: the same picture as that of {', '.join(map(repr, others[:5]))}"
                f"{', ...' if len(others) > 5 else ''}, byte for byte: a placeholder for photos that are gone?"
            ]
    for split, by_id in problems.items():
        admission.leave_out(split, by_id)


def _as_written(folders: list[str], text: str) -> str:
    for folder in folders:
        text = text.replace(str(user_path(folder)), folder)
    return text
