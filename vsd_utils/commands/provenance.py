"""Write down what a run is made by: its profile and overrides, and digests of its code and of its parameters.

The report names these digests and no commit, so that another clone, at another commit that changed nothing the
pipeline uses, makes the same bytes again. The code is what this stage depends on in dvc.yaml: all files and folders of
the package that any stage depends on, and the cleaned notebooks. Not requirements.lock: no stage runs again when it
changes, so a digest of it would speak of libraries that made none of the results; ``metrics.json`` has the versions
of what computed the scores.
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from vsd_utils.commands import stage
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256, write_json
from vsd_utils.common.params import load
from vsd_utils.common.paths import CONF, DVC_STAGES, PROVENANCE, ROOT
from vsd_utils.common.profiles import overrides
from vsd_utils.common.sections import Params

_DIGITS = 10


def code_paths(root: Path = ROOT) -> list[Path]:
    """List what counts as the pipeline's code: what the stage ``provenance`` depends on, but for ``conf``."""
    depends = YAML(typ="safe", pure=True).load(root / DVC_STAGES.name)["stages"]["provenance"]["deps"]
    return [root / path for path in depends if Path(path).parts[0] != CONF.name]


def code_digest(paths: Sequence[Path], root: Path = ROOT) -> str:
    """Digest names and bytes of files and of all files in folders, in any order: ten hexadecimal digits.

    Hidden files and compiled modules, which a desktop or Python leaves beside the code, do not count. Raises
    ``VsdError`` for what is not there.
    """
    if absent := [path for path in paths if not path.exists()]:
        raise VsdError(f"{absent[0]}: not there yet. dvc repro provenance runs the stage that makes it first")
    files = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]) if not file.is_dir()}
    names = sorted(file.relative_to(root).as_posix() for file in files)
    lines = [f"{sha256(root / name)} {name}\n" for name in names if not _is_left_behind(name)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_DIGITS]


def _is_left_behind(name: str) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))


def parameters_digest(params: Params) -> str:
    """Digest all parameters with their values, in any order: ten hexadecimal digits."""
    written = json.dumps(params.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()[:_DIGITS]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def run(given: argparse.Namespace) -> int:
    """Run the stage."""
    params = load()
    with stage.running("provenance"):
        record = {
            "profile": params.profile,
            "overrides": overrides(params),
            "seed": params.seed,
            "packing": params.finetune.packing,
            "code": code_digest(code_paths()),
            "parameters": parameters_digest(params),
        }
        write_json(PROVENANCE, record)
    return 0
