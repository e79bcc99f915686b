"""The last stage: put the tables and the executed notebooks where git keeps them.

DVC's run cache brings a stage's outputs back instead of running it again, but only where all of them are in its cache
(or metrics and plots). So the stages keep theirs below ``data``, and this one copies what a reader of the repository
wants to see.
"""

import argparse
import shutil
import sys

from rich.console import Console

from vsd_utils.commands import stage, timings
from vsd_utils.common.files import replacing_folder
from vsd_utils.common.paths import EXECUTED_NOTEBOOKS, REPORT_NOTEBOOKS, REPORT_TABLES, TABLES


def publish() -> None:
    """Replace ``reports/tables`` and ``reports/notebooks`` by copies of what the stages made.

    The notebooks' HTML is not copied: it stays in ``data/executed``.
    """
    for made, shown in ((TABLES, REPORT_TABLES), (EXECUTED_NOTEBOOKS, REPORT_NOTEBOOKS)):
        with replacing_folder(shown) as folder:
            shutil.copytree(made, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.html"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(given: argparse.Namespace) -> int:
    """Run the stage, and show how long each stage has taken."""
    with stage.running("report"):
        publish()
    Console(width=None if sys.stdout.isatty() else 100).print(timings.table())
    return 0
