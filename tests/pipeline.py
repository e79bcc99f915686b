"""What dvc.yaml says and what the code does, read for the tests of the pipeline."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from ruamel.yaml import YAML

from vsd_utils.notebooks import SOURCES
from vsd_utils.paths import NOTEBOOKS, ROOT

PACKAGE = ROOT / "vsd_utils"
SCRIPTS = {"preflight": "preflight", "fetch": "fetch", "base": "base", "refiner": "refiner"}  # stage -> module it runs
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]


@cache
def imported(path: Path) -> frozenset[str]:
    """Modules of the package that a file imports, anywhere in it, and what those import."""
    return reached(path.read_text(encoding="utf-8"))


def reached(source: str) -> frozenset[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vsd_utils":
            inside = node.module.split(".")[1:]
            found |= {inside[0]} if inside else {name.name for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name.split(".")[1] for name in node.names if name.name.startswith("vsd_utils.")}
    files = {PACKAGE / f"{module}.py" for module in found}
    return frozenset(found).union(*(imported(file) for file in files))


def modules_of(stage: str) -> frozenset[str]:
    """Modules that a stage runs: its script's, or its notebook's and the runner's."""
    if stage == "report":
        return imported(PACKAGE / "report.py") | {"report"}
    if stage in SCRIPTS:
        return imported(PACKAGE / f"{SCRIPTS[stage]}.py") | {SCRIPTS[stage]}
    notebook = nbformat.read(NOTEBOOKS / SOURCES[stage], as_version=4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return reached(code) | imported(PACKAGE / "notebooks.py") | {"notebooks"}
