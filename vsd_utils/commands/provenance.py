"""Digest the code and the parameters of a run: what every table of the report names.

Not the commit: it changes with every word of the README, and a fresh clone could not make the committed report again.
The code is the package, but for what no stage runs, and the cleaned notebooks. The locked versions of libraries are not
in it, for a development tool's update changes no result; those that make scores are named beside them. Writes ``data/provenance.json``: ``profile``, ``overrides`` (where the parameters differ from the profile), and
the SHA-256 digests ``code`` and ``parameters``, the first ten digits of each.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from vsd_utils.commands import stage
from vsd_utils.common.files import sha256, write_json
from vsd_utils.common.params import Params, load
from vsd_utils.common.paths import CLEAN_NOTEBOOKS, PROVENANCE, ROOT
from vsd_utils.common.profiles import overrides

NO_STAGE_RUNS = ("__main__.py", "commands/profile.py", "commands/score.py")


def collect(params: Params, root: Path = ROOT) -> dict[str, Any]:
    """Content of ``data/provenance.json`` for ``params`` and the code below ``root``."""
    return {
        "profile": params.profile,
        "overrides": overrides(params),
        "code": code_digest(root),
        "parameters": _short(json.dumps(params.model_dump(mode="json"), sort_keys=True)),
    }


def code_digest(root: Path = ROOT) -> str:
    """Digest the names and contents of all files that a stage runs; the first ten digits."""
    package = root / "vsd_utils"
    files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files = [path for path in files if path.relative_to(package).as_posix() not in NO_STAGE_RUNS]
    files += (root / CLEAN_NOTEBOOKS.relative_to(ROOT)).glob("*.ipynb")
    return _short("".join(f"{path.relative_to(root).as_posix()} {sha256(path)}\n" for path in sorted(files)))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(given: argparse.Namespace) -> int:
    """Run the stage."""
    params = load()
    with stage.running("provenance"):
        write_json(PROVENANCE, collect(params))
    return 0
