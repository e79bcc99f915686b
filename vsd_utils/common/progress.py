"""Progress of long work: a bar at a terminal, a line now and then in a log or a notebook.

Always on the process's own standard error.
"""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vsd_utils.common import timings

Step = TypeVar("Step")
# What ``Meter`` prints. A kernel shows it in the notebook too; an executed copy must not keep it, for it holds timings.
LINE = re.compile(r"[^\n]+: (\d+ of \d+, about \d+ s left[^\n]*|goes on after \d+ of \d+)\n?")
SECONDS_BETWEEN_LINES = 15.0


class Meter:
    """Print a line about every 15 seconds: how much is done, how long the rest will take."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        """Take the number of steps in all, and how many were ``done`` before, by a run that was killed."""
        self.name, self.total, self.first = name, total, done
        self.start = self.shown = time.monotonic()
        self.ended = False
        if done:
            self._print(f"{name}: goes on after {done} of {total}")

    def at(self, done: int, remark: str = "") -> None:
        """Say that ``done`` steps are finished by now, and ``remark`` behind it."""
        now = time.monotonic()
        if now - self.shown >= SECONDS_BETWEEN_LINES and done > self.first:
            self.shown = now
            left = (now - self.start) / (done - self.first) * (self.total - done)
            self._print(f"{self.name}: {done} of {self.total}, about {left:.0f} s left{remark}")
        if done == self.total > self.first and not self.ended:
            self.ended = True
            timings.record_work(self.name, done - self.first, now - self.start)

    def _print(self, line: str) -> None:
        print(line, file=sys.__stderr__, flush=True)


def steps(
    work: Iterable[Step], name: str, total: int, done: int = 0, remark: Callable[[], str] = str
) -> Iterator[Step]:
    """Pass ``work`` on, step by step, and show how far it is, and what ``remark`` says by then (a rate, say)."""
    if sys.stderr.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = (*columns, TextColumn("{task.fields[remark]}"))
        start = time.monotonic()
        with Progress(*shown, console=Console(stderr=True)) as progress:
            task = progress.add_task(name, total=total, completed=done, remark="")
            for step in work:
                yield step
                progress.update(task, advance=1, remark=remark())
        timings.record_work(name, total - done, time.monotonic() - start)
        return
    meter = Meter(name, total, done)
    for number, step in enumerate(work, done + 1):
        yield step
        meter.at(number, remark())
