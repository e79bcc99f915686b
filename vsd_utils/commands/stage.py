"""What every stage has in common: it ends with DVC, runs alone in this checkout, and writes to plain folders."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from vsd_utils.common import lifetime, timings, work_lock
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import DATA, MODELS, REPORTS


@contextmanager
def running(name: str) -> Iterator[None]:
    """Hold this checkout's lock for stage ``name``, and end with DVC if that has started it.

    Raises ``VsdError`` when another stage is running here, or DVC could not keep what this one writes.
    """
    if links := [folder for folder in (DATA, MODELS, REPORTS) if folder.is_symlink()]:
        raise VsdError(
            f"{links[0]}: is a link, and DVC puts nothing below a link. To use a larger disk, make it a plain folder "
            "again, keep DVC's cache there and link single files: dvc cache dir --local /larger/disk/cache, then "
            "dvc config --local cache.type symlink"
        )
    lifetime.end_with_dvc()
    start = time.monotonic()
    with work_lock.held(name):
        yield
    timings.record_stage(name, time.monotonic() - start)
