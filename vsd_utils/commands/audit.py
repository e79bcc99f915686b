"""Audit the metrics on people's captions: does a score fall when the relation is wrong?

    vsd audit                                             # the fetched val files; tables into reports/audit
    vsd audit --annotations FOLDER --split test --images 500 --output FOLDER

Runs notebooks/06_audit.ipynb, which shows and writes the tables; the executed notebook, with 100 edited captions to
judge, lies beside them, also as HTML. A person's caption is scored against the image's other captions, and so are
copies of it with one thing wrong (names swapped, another relation, a negation, another object) or in other words.
Beside it the report card of the relation checkers, and the template check: whether the conversations made of these
files state their relation. Captions that were never parsed here take SPICE about a minute for three thousand on two
cores. Exit status 3 and the reasons on standard error when a metric could not be computed, for want of Java, say: all
others are written.
"""

import argparse
import sys
from pathlib import Path

from vsd_utils.commands.run_notebook import execute_file
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import NOTEBOOKS, REPORTS, user_path
from vsd_utils.data.annotations import SPLITS
from vsd_utils.evaluate.audit import audited_files
from vsd_utils.evaluate.audit_scores import PARTS
from vsd_utils.evaluate.audit_tables import NOT_COMPUTED
from vsd_utils.report import tables

NOTEBOOK = "06_audit.ipynb"
INCOMPLETE = 3  # exit status when a metric could not be computed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the files and how many images of them."""
    parser.add_argument(
        "--annotations", default="sources/vsd", metavar="FOLDER", help="with VSDv1 and VSDv2 (sources/vsd)"
    )
    parser.add_argument("--split", choices=SPLITS, default="val", help="which files of it (val)")
    parser.add_argument(
        "--output", type=Path, default=REPORTS / "audit", metavar="FOLDER", help="for the tables (reports/audit)"
    )
    parser.add_argument("--images", type=int, metavar="N", help="as many images, drawn by seed (all)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn and of the resamples (0)")
    parser.add_argument("--java", type=Path, help="Java program or home (JAVA_HOME, else the one installed with us)")
    parser.add_argument("--heap-gb", type=float, default=4.0, help="most memory for SPICE's Java in GiB (4)")
    parser.add_argument("--no-spice", action="store_true", help="leave SPICE out")


def run(given: argparse.Namespace) -> int:
    """Run the notebook, say where the tables are and what is missing; returns the exit status."""
    if given.images is not None and given.images < PARTS:
        raise VsdError(f"--images {given.images}: expected {PARTS} at least. Or leave it out, for all images")
    annotations, output = user_path(given.annotations), given.output.absolute()
    audited_files(annotations, given.split)
    parameters = {
        "annotations": str(annotations),
        "split": given.split,
        "images": given.images,
        "seed": given.seed,
        "spice": not given.no_spice,
        "heap_gb": given.heap_gb,
        "java": given.java and str(given.java.absolute()),
        "output": str(output),
    }
    execute_file(NOTEBOOKS / NOTEBOOK, output / NOTEBOOK, parameters)
    print(f"written: {given.output}")
    missing = tables.read_rows(NOT_COMPUTED, output)
    for row in missing:
        print(f"Not computed: {row['metric']}: {row['reason']}", file=sys.stderr)
    return INCOMPLETE if any(row["metric"] != "spice" or not given.no_spice for row in missing) else 0
