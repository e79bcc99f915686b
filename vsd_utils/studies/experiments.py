"""A run, made by DVC as an experiment in a copy of the checkout: ``dvc exp run --temp``.

The copy shares DVC's cache and its memory of past runs, so stages that runs have in common are made once, also by
``make repro`` before; data, models and report of the checkout stay as they are, and so do its edits, which DVC puts
aside for the second in which it makes the copy. What a run leaves is kept as an experiment by its name
(``dvc exp show``), from which its answers are read. A stage that was killed begins anew: its unfinished work goes with
the copy.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vsd_utils.common import lifetime, timings
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import ROOT
from vsd_utils.studies.plan import Run


def make(run: Run) -> None:
    """Make a run up to its last stage; stages that DVC remembers are not run again.

    Raises ``VsdError`` when a stage fails; what DVC says of it is on standard error.
    """
    settings = [word for override in run.overrides for word in ("-S", override)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", run.experiment]
    if is_made(run):
        _dvc("exp", "remove", run.experiment)
    bound = lifetime.bound([*command, *settings, run.last_stage])
    done = subprocess.run(bound, cwd=ROOT, env=_environment(), check=False)
    if done.returncode:
        raise VsdError(
            f"study {run.study}, variant {run.variant!r}, seed {run.seed}: DVC ended with status {done.returncode}, "
            f"see above. Mend that and give the same command: it goes on with this run"
        )


def cost_of(run: Run) -> dict[str, dict[str, float]]:
    """Give seconds, and GiB of the largest process, of the stages that were run for a run, here and at any time."""
    return {
        row["stage"]: {name: row[name] for name in ("seconds", "peak_gib")}
        for row in timings.rows()
        if row.get("experiment") == run.experiment and "stage" in row
    }


def is_made(run: Run) -> bool:
    """Tell whether DVC has the experiment of a run."""
    return run.experiment in _experiments()


@contextmanager
def data_of(run: Run, *, base: bool = False) -> Iterator[Path]:
    """Give a folder with what a run left: ``dvc.lock``, annotations, answers and adapter, each below its own path.

    With ``base`` the base model too.

    Raises ``VsdError`` where DVC's cache has it no more.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    wanted = ["dvc.lock", "data/annotations", "data/predictions", "models/adapter", *(["models/base"] if base else [])]
    with TemporaryDirectory() as folder:
        try:
            files = dvc.api.DVCFileSystem(str(ROOT), rev=run.experiment)
            for path in [*wanted, *(["data/refined"] if run.last_stage == "refine" else [])]:
                target = Path(folder) / path
                target.parent.mkdir(parents=True, exist_ok=True)
                files.get(path, str(target), recursive=True)
        except (DvcException, OSError) as error:
            raise VsdError(
                f"experiment {run.experiment}: {error}. `dvc exp remove {run.experiment}` makes it again"
            ) from None
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
