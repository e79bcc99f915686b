"""The last stage: put the tables and the executed notebooks where git keeps them.

    python -m vsd_utils.report

DVC's run cache brings a stage's outputs back instead of running it again, but only where all of them are in its cache
(or metrics and plots). So the stages keep theirs below ``data``, and this one copies what a reader of the repository
wants to see.
"""

import shutil
import sys

from vsd_utils import lifetime, work_lock
from vsd_utils.errors import VsdError
from vsd_utils.files import replacing_folder
from vsd_utils.paths import EXECUTED_NOTEBOOKS, REPORT_NOTEBOOKS, REPORT_TABLES, TABLES


def publish() -> None:
    """Replace ``reports/tables`` and ``reports/notebooks`` by copies of what the stages made."""
    for made, shown in ((TABLES, REPORT_TABLES), (EXECUTED_NOTEBOOKS, REPORT_NOTEBOOKS)):
        with replacing_folder(shown) as folder:
            shutil.copytree(made, folder, dirs_exist_ok=True)


if __name__ == "__main__":
    lifetime.end_with_dvc()
    try:
        with work_lock.held("report"):
            publish()
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
