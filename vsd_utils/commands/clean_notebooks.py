"""Copy the notebooks without what a reader's session leaves in them: outputs, counts, metadata, kernel version.

DVC depends on these copies (``notebooks/01_convert_data.ipynb`` -> ``data/notebooks/convert.ipynb``), so that opening
and saving a notebook never reruns its stage; only a change of its code or text does.
"""

import argparse

import nbformat

from vsd_utils.commands import stage
from vsd_utils.commands.run_notebook import SOURCES, clean
from vsd_utils.common.files import replacing
from vsd_utils.common.paths import CLEAN_NOTEBOOKS, NOTEBOOKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(given: argparse.Namespace) -> int:
    """Write all copies."""
    with stage.running("clean-notebooks"):
        for name, source in SOURCES.items():
            with replacing(CLEAN_NOTEBOOKS / f"{name}.ipynb") as temporary:
                nbformat.write(clean(nbformat.read(NOTEBOOKS / source, as_version=4)), temporary)
    return 0
