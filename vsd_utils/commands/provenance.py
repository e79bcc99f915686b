"""Digest the code and the parameters of a run: what every table of the report names.

Not the commit: it changes with every word of the README, and a fresh clone could not make the committed report again.
The code is the files that the stages of dvc.yaml depend on, and dvc.yaml's own list of them; the locked versions of
libraries are not in it, for a development tool's update changes no result, and those that make scores are named beside
them. Writes ``data/provenance.json``: ``profile``, ``overrides`` (where the parameters differ from the profile), and
the SHA-256 digests ``code`` and ``parameters``, the first ten digits of each.
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from vsd_utils.commands import stage
from vsd_utils.common.files import sha256, write_json
from vsd_utils.common.params import Params, load, yaml_reader
from vsd_utils.common.paths import PROVENANCE, ROOT
from vsd_utils.common.profiles import overrides

CODE = ("vsd_utils/", "data/notebooks/")  # of the stages' dependencies, what people wrote
OWN = "provenance"  # this stage, which depends on all code so that it notices every change


def collect(params: Params, root: Path = ROOT) -> dict[str, Any]:
    """Content of ``data/provenance.json`` for ``params`` and the code below ``root``."""
    return {
        "profile": params.profile,
        "overrides": overrides(params),
        "code": code_digest(root),
        "parameters": _short(json.dumps(params.model_dump(mode="json"), sort_keys=True)),
    }


def code_digest(root: Path = ROOT) -> str:
    """Digest of the names and contents of all code files that a stage depends on, first ten digits."""
    stages: dict[str, Any] = yaml_reader().load(root / "dvc.yaml")["stages"]
    named = {path for name, one in stages.items() if name != OWN for path in one["deps"] if path.startswith(CODE)}
    files = {file for path in named for file in _files(root / path)}
    return _short("".join(f"{file.relative_to(root).as_posix()} {sha256(file)}\n" for file in sorted(files)))


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts]


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(given: argparse.Namespace) -> int:
    """Run the stage."""
    params = load()
    with stage.running(OWN):
        write_json(PROVENANCE, collect(params))
    return 0
