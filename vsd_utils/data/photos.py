"""The user's photos: found by image id, read as an image viewer shows them, or refused by name.

Read are JPEG, PNG, WebP, GIF (its first frame) and BMP, whatever a file's name ends in. Other formats look different
from one program to the next, or hold no picture that all of them show.
"""

import filecmp
import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile

from vsd_utils.common.errors import VsdError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 89_478_485  # Pillow's own limit, from which on it warns: 256 MB as RGB
MAX_SIDE = 65_500  # of the JPEG that a picture with boxes is written to
SAME_COLOUR = 2  # of 255: two programs' sRGB differ by as much

# Both are dealt with below, the first as an error with the file's name. The warnings name no file.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning)


class PhotoFolder(NamedTuple):
    """List the photos below ``folder``: file name, and file name without suffix -> paths relative to it."""

    folder: Path
    paths: dict[str, list[Path]]


def index_photos(folder: Path) -> PhotoFolder:
    """List the photos below ``folder``, linked folders included.

    Visual Genome's ids are numbers and its photos ``<id>.jpg`` in two folders; the Flickr and NYU ids are file names.
    Raises ``VsdError`` where there is no such folder.
    """
    if not folder.is_dir():
        raise VsdError(f"{folder}: no such folder of photos. Set fetch.photos to the folder that holds them.")
    found: defaultdict[str, list[Path]] = defaultdict(list)
    visited: set[tuple[int, int]] = set()
    # Not Path.rglob: it passes over linked folders, and 15 GB of photos are often linked.
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link to a folder above itself
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        for path in (Path(parent, name) for name in names):
            if path.suffix.lower() in SUFFIXES:
                for key in {path.name, path.stem}:
                    found[key].append(path.relative_to(folder))
    return PhotoFolder(folder, {key: sorted(paths) for key, paths in found.items()})


def photo_of(img_id: str, photos: PhotoFolder) -> Path:
    """Find an image's photo; of several copies with the same bytes the first.

    Raises ``VsdError`` where there is none, and where several that differ could be it.
    """
    folder = photos.folder
    if img_id not in photos.paths:
        raise VsdError(
            f"img_id {img_id!r}: no photo of this name (or with {', '.join(SUFFIXES)}) in {folder} or below it. Put it "
            "there, or set fetch.photos to the folder that holds it."
        )
    first, *others = photos.paths[img_id]
    for other in others:
        try:
            same = filecmp.cmp(folder / first, folder / other, shallow=False)
        except OSError as error:
            raise VsdError(f"{folder / other}: cannot be read ({error})") from None
        if not same:
            raise VsdError(f"{folder}: both {first} and {other} could be the photo of {img_id!r}. Keep one.")
    return folder / first


def same_pictures(path_of: Mapping[str, Path]) -> list[list[str]]:
    """Group the ids whose photos hold the same bytes: mostly a site's placeholder for photos that were taken down."""
    by_size: defaultdict[int, list[str]] = defaultdict(list)
    for img_id, path in path_of.items():
        by_size[path.stat().st_size].append(img_id)
    doubtful = [img_id for ids in by_size.values() if len(ids) > 1 for img_id in ids]
    by_content: defaultdict[bytes, list[str]] = defaultdict(list)
    with ThreadPoolExecutor() as pool:
        for img_id, digest in zip(doubtful, pool.map(lambda img_id: _digest(path_of[img_id]), doubtful), strict=True):
            by_content[digest].append(img_id)
    return [ids for ids in by_content.values() if len(ids) > 1]


def photo_size(path: Path) -> tuple[int, int]:
    """Read the width and height in pixels of a photo as it is shown, from its header alone.

    Raises ``VsdError`` naming the file when it is missing, empty, too large or not an image.
    """
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _orientation(image) >= 5 else (width, height)


def open_photo(path: Path) -> Image.Image:
    """Load a photo as RGB, as an image viewer shows it on a white page.

    Turned upright by its EXIF orientation, brought into sRGB from the colour profile it holds, transparent parts
    white. Raises ``VsdError`` naming the file when it is missing, empty, too large, cut short or not an image.
    """
    with _opened(path) as image:
        if image.info.get("default_image"):  # an animated PNG's still for programs that know no animation
            image.seek(1)
        frame = image.tile[0].extents if isinstance(image, GifImageFile) else None
        profile = image.info.get("icc_profile")
        image.load()
        upright = ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
        colours, alpha = _taken_apart(upright)
        shown = _in_srgb(colours, profile)
        if frame not in (None, (0, 0, *image.size)):  # a first frame smaller than the animation
            framed = Image.new("L", image.size, 0)
            framed.paste(alpha.crop(frame) if alpha else 255, frame)
            alpha = framed
        if alpha:
            page = Image.new("RGB", shown.size, "white")
            page.paste(shown, mask=alpha)
            shown = page
        shown.info = {}  # no remark and no profile of a photo goes on into what is made of it
        return shown


def too_large(width: int, height: int) -> bool:
    """Tell whether no photo can be that large, in pixels: such a file is made to fill the memory."""
    return width * height > MAX_PIXELS or max(width, height) > MAX_SIDE


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=FORMATS) as image:
            if too_large(*image.size):
                raise Image.DecompressionBombError
            yield image
    except VsdError:
        raise
    except FileNotFoundError:
        raise VsdError(f"{path}: no such photo. Put it back, or fetch the annotations again without it.") from None
    except Image.DecompressionBombError:
        raise VsdError(
            f"{path}: claims more than {MAX_PIXELS:,} pixels, or a side of more than {MAX_SIDE:,}. No photo is that "
            "large. Fetch it again, or scale it down together with its boxes."
        ) from None
    except UnidentifiedImageError:
        what = "not a JPEG, PNG, WebP, GIF or BMP" if path.stat().st_size else "it is empty"
        raise VsdError(f"{path}: cannot be read as an image ({what}). Fetch it again.") from None
    # Of damaged files Pillow raises nearly everything: OSError, SyntaxError, ValueError, struct.error, MemoryError, ...
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise VsdError(f"{path}: cannot be read as an image ({reason}). Fetch it again.") from None


def _orientation(image: Image.Image) -> int:
    """Read the EXIF orientation, 1 to 8; 1 (as it stands) without EXIF, and with broken EXIF, as viewers do."""
    try:
        found = int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # as above
        return 1
    return found if 1 <= found <= 8 else 1


def _taken_apart(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Split an image into colours (mode L, RGB or CMYK) and opacity (mode L; None where the image is opaque).

    Raises ``ValueError`` for pixels of a kind that no two programs show alike.
    """
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint32)
        colours = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
        if "transparency" not in image.info:
            return colours, None
        return colours, Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        grey = image.mode in ("1", "L", "LA", "La")
        whole = image.convert("LA" if grey else "RGBA")
        return whole.convert("L" if grey else "RGB"), whole.getchannel("A")
    if image.mode in ("1", "L"):
        return image.convert("L"), None
    if image.mode in ("P", "RGB", "RGBX", "CMYK"):
        return image if image.mode == "CMYK" else image.convert("RGB"), None
    raise ValueError(f"holds pixels of the kind {image.mode!r}, which no two programs show alike")


def _in_srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    transform = _to_srgb(profile, colours.mode) if profile else None
    return ImageCms.applyTransform(colours, transform) if transform else colours.convert("RGB")  # type: ignore[return-value]


@lru_cache(maxsize=32)
def _to_srgb(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform from a colour profile to sRGB.

    None for sRGB itself, and for a profile that is broken or of another kind of pixels: viewers pass over those.
    """
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != {"L": "GRAY"}.get(mode, mode):
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode == "CMYK":
        return transform
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    tried = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3) if mode == "RGB" else steps[None]
    probe = Image.fromarray(tried)
    changed = np.asarray(ImageCms.applyTransform(probe, transform), dtype=int) - np.asarray(probe.convert("RGB"))
    return transform if np.abs(changed).max() > SAME_COLOUR else None


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
