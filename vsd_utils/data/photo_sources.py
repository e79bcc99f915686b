"""The photos that a run needs and the user's folder lacks: each from where its id says that it comes from.

An id that is a number is Visual Genome's; all others are SpatialSense's. The user's own copies, at any depth of the
folder, come first and stay as they are.
"""

from collections.abc import Iterable
from pathlib import Path

from vsd_utils.data.download import Downloader
from vsd_utils.data.photos import index_photos
from vsd_utils.data.sources import Sources
from vsd_utils.data.spatialsense import fetch_spatialsense
from vsd_utils.data.visual_genome import fetch_visual_genome


def missing_photos(ids: Iterable[str], folder: Path) -> list[str]:
    """List the ids that have no photo in ``folder`` or below it, in their order; all of them where it is not there."""
    there = index_photos(folder).paths if folder.is_dir() else {}
    return [img_id for img_id in ids if img_id not in there]


def fetch_photos(ids: Iterable[str], folder: Path, sources: Sources, downloader: Downloader) -> list[str]:
    """Fetch the photos of these ids that are missing, and say in lines which could not be had, and what was answered.

    Raises ``VsdError`` where the rest is not worth a try (``Downloader.fetch``, ``fetch_spatialsense``).
    """
    absent = missing_photos(ids, folder)
    numbers = [img_id for img_id in absent if img_id.isdecimal()]
    others = [img_id for img_id in absent if not img_id.isdecimal()]
    missing = fetch_visual_genome(numbers, folder, sources.visual_genome, downloader)
    missing += fetch_spatialsense(others, folder, sources.spatialsense, downloader)
    return [f"{one.path}: could not be fetched: {'; '.join(one.reasons)}" for one in missing]
