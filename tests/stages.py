"""What dvc.yaml says and what the code does, read for the tests of the pipeline."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from ruamel.yaml import YAML

from vsd_utils.__main__ import VERBS
from vsd_utils.commands.run_notebook import SOURCES
from vsd_utils.common.paths import NOTEBOOKS, ROOT

PACKAGE = ROOT / "vsd_utils"
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]


# `prepare-model` makes one of two models, and imports what makes it only then.
OTHER_HALF = {
    "base": set(),
    "refiner": {
        path
        for folder in ("data", "finetune", "miniature/model", "miniature/scenes", "miniature/small", "models")
        for path in (PACKAGE / folder).rglob("*.py")
        if path.name not in ("checkpoint.py", "stand_ins.py", "architecture.py", "prompts.py", "annotations.py")
    },
}


@cache
def imported(path: Path) -> frozenset[Path]:
    """Files of the package that a file imports, anywhere in it, and what those import, without packages' own."""
    return reached(path.read_text(encoding="utf-8"))


def reached(source: str) -> frozenset[Path]:
    found: set[Path] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vsd_utils":
            names = [f"{node.module}.{name.name}" for name in node.names]
            found |= {path for name in [node.module, *names] if (path := file_of(name))}
        elif isinstance(node, ast.Import):
            found |= {path for name in node.names if (path := file_of(name.name))}
    return frozenset(found).union(*(imported(file) for file in found))


def file_of(name: str) -> Path | None:
    """The module's file, None for what is no module of ours."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if name.startswith("vsd_utils.") and path.is_file() else None


def notebook_runs(name: str) -> frozenset[Path]:
    """Files of the package that a notebook runs."""
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)
    return reached("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))


def runs(stage: str) -> frozenset[Path]:
    """Files of the package that a stage runs: its verb's, and for a notebook stage the notebook's."""
    verb, *words = STAGES[stage]["cmd"].removeprefix("python -m vsd_utils ").split()
    command = PACKAGE / "commands" / f"{VERBS[verb].module}.py"
    found = imported(command) | {command}
    if verb == "run-notebook":
        found |= notebook_runs(SOURCES[words[0]])
    return frozenset(found) - OTHER_HALF.get(stage, set())
