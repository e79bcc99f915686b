"""A run, made by DVC as an experiment in a copy of the checkout: ``dvc exp run --temp``.

The copy shares DVC's cache and its memory of past runs, so stages that runs have in common are made once, also by
``make repro`` before; the checkout's own params.yaml, data and report stay as they are. What a run leaves is kept as
an experiment by its name (``dvc exp show``), from which its answers are read.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vsd_utils.common import timings
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import ROOT
from vsd_utils.studies.plan import Run


def make(run: Run) -> dict[str, dict[str, float]]:
    """Make a run up to its last stage, or find it made; returns its cost by stage, of the stages that were run.

    Raises ``VsdError`` when a stage fails; what DVC says of it is on standard error.
    """
    before = len(timings.rows())
    settings = [word for override in run.overrides for word in ("-S", override)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", run.experiment]
    if is_made(run):  # without its scores: they are read from a new one, whose stages DVC remembers
        _dvc("exp", "remove", run.experiment)
    done = subprocess.run([*command, *settings, run.last_stage], cwd=ROOT, env=_environment(), check=False)
    if done.returncode:
        raise VsdError(
            f"study {run.study}, variant {run.variant!r}, seed {run.seed}: DVC ended with status {done.returncode}, "
            f"see above. Mend that and give the same command: it goes on with this run"
        )
    return {
        row["stage"]: {name: row[name] for name in ("seconds", "peak_gib")}
        for row in timings.rows()[before:]
        if "stage" in row
    }


def is_made(run: Run) -> bool:
    """Tell whether DVC has the experiment of a run."""
    return run.experiment in _experiments()


@contextmanager
def data_of(run: Run) -> Iterator[Path]:
    """Give a folder with the annotations, answers and adapter of a run that was made, as ``data`` and ``models``."""
    import dvc.api

    with TemporaryDirectory() as folder:
        files = dvc.api.DVCFileSystem(str(ROOT), rev=run.experiment)
        wanted = ["data/annotations", "data/predictions", "models/adapter"]
        for path in [*wanted, *(["data/refined"] if run.last_stage == "refine" else [])]:
            target = Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            files.get(path, str(target), recursive=True)
        yield Path(folder)


def _experiments() -> set[str]:
    listed = _dvc("exp", "list", "--all-commits", "--name-only")
    return set(listed.split())


def _dvc(*words: str) -> str:
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise VsdError(f"{' '.join(command[2:])}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _environment() -> dict[str, Any]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"DVC_NO_ANALYTICS": "1", "PATH": path}
