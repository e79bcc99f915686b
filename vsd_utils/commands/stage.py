"""What every stage has in common: it ends with DVC, and no other stage of this checkout runs beside it."""

from collections.abc import Iterator
from contextlib import contextmanager

from vsd_utils.common import lifetime, work_lock


@contextmanager
def running(name: str) -> Iterator[None]:
    """Hold this checkout's lock for stage ``name``, and end with DVC if that has started it.

    Raises ``VsdError`` when another stage is running here.
    """
    lifetime.end_with_dvc()
    with work_lock.held(name):
        yield
