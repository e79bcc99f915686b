"""Show how long each stage of the last runs took, with what memory, and how fast its long work went.

    vsd timings

Reads ``work/timings.jsonl``, which every stage adds to; the last run of each stage counts. These numbers are in no
table and no notebook, because no two runs share them.
"""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from vsd_utils.common import timings


def table() -> Table | None:
    """Make the table; None where no stage has run here."""
    rows = timings.latest()
    if not rows:
        return None
    made = Table("stage", "seconds", "a second", "memory, GiB", "GPU memory, GiB")
    for column in made.columns[1:]:
        column.justify = "right"
    for row in rows:
        if "stage" in row:
            made.add_row(row["stage"], f"{row['seconds']:.1f}", "", f"{row['peak_gib']:.2f}", "")
        else:
            rate = f"{row['count'] / row['seconds']:.2f}" if row["seconds"] else ""
            made.add_row(f"  {row['work']}: {row['count']:,}", f"{row['seconds']:.1f}", rate, "", _gpu(row))
    total = sum(row["seconds"] for row in rows if "stage" in row)
    made.add_section()
    made.add_row("all", f"{total:.1f}", "", "", "")
    return made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take no arguments."""


def run(given: argparse.Namespace) -> int:
    """Print the table."""
    made = table()
    Console(width=None if sys.stdout.isatty() else 100).print(made or "no stage has run in this checkout yet")
    return 0


def _gpu(row: dict[str, float]) -> str:
    return f"{row['gpu_peak_gib']:.2f}" if "gpu_peak_gib" in row else ""
