"""The last stage: put the tables and the executed notebooks where git keeps them.

    python -m vsd_utils.report

DVC's run cache brings a stage's outputs back instead of running it again, but only where all of them are in its cache
(or metrics and plots). So the stages keep theirs below ``data``, and this one copies what a reader of the repository
wants to see.
"""

import shutil

from vsd_utils.paths import EXECUTED_NOTEBOOKS, REPORT_NOTEBOOKS, REPORT_TABLES, TABLES


def publish() -> None:
    """Replace ``reports/tables`` and ``reports/notebooks`` by copies of what the stages made."""
    for made, shown in ((TABLES, REPORT_TABLES), (EXECUTED_NOTEBOOKS, REPORT_NOTEBOOKS)):
        shutil.rmtree(shown, ignore_errors=True)
        shutil.copytree(made, shown)


if __name__ == "__main__":
    publish()
