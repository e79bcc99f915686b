"""A run, made by DVC as an experiment in a copy of the checkout: ``dvc exp run --temp``.

The copy shares DVC's cache and its memory of past runs, so stages that runs have in common are made once, also by
``make repro`` before; data, models and report of the checkout stay as they are, and so do its edits, which DVC puts
aside for the second in which it makes the copy. What a run leaves is kept as an experiment by its name
(``dvc exp show``), from which its answers are read. A stage that was killed begins anew: its unfinished work goes with
the copy.

Several runs can be made at a time. DVC would take one for the other while it puts them aside, and make twice what
both have in common, so each comes to its own first stage alone (``STARTING``).
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from vsd_utils.common import lifetime, timings
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import ROOT, WORK
from vsd_utils.studies.plan import Run

STARTING: Final = threading.Lock()  # held while DVC copies the checkout; who writes files of it holds it too
_LOGS: Final = WORK / "studies"
_CONFIG: Final = Path(__file__).parent / "dvc"
_SECONDS_BETWEEN_LOOKS = 0.2
_TO_ASK: Final = ("models/base", "data/conversations/statistics.json")  # what a run's models are asked with
_LINES_SHOWN = 40  # of the log of a run that failed


def make(run: Run, jobs: int = 1) -> None:
    """Make a run up to its last stage; stages that DVC remembers are not run again.

    Of several ``jobs`` at a time each writes what it says into a log, and has its share of the cores.

    Raises ``VsdError`` when a stage fails; what DVC says of it is on standard error, of several jobs the log's end.
    """
    settings = [word for override in run.overrides for word in ("-S", override)]
    command = [sys.executable, "-m", "dvc", "exp", "run", "--temp", "--name", run.experiment]
    bound = lifetime.bound([*command, *settings, run.last_stage])
    log = _LOGS / f"{run.experiment}.log" if jobs > 1 else None
    with STARTING:
        if is_made(run):
            _said(sys.executable, "-m", "dvc", "exp", "remove", run.experiment)
        if log is None:
            code = subprocess.run(bound, cwd=ROOT, env=_environment(), check=False).returncode
        else:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("w", encoding="utf-8") as said:
                dvc = subprocess.Popen(bound, cwd=ROOT, env=_environment(jobs), stdout=said, stderr=said)
            _wait_for_own_stage(dvc, run, log)
    if log is not None:
        code = dvc.wait()
        if code:
            print("".join(log.read_text("utf-8").splitlines(keepends=True)[-_LINES_SHOWN:]), file=sys.stderr)
    if code:
        raise VsdError(
            f"study {run.study}, variant {run.variant!r}, seed {run.seed}: DVC ended with status {code}, "
            f"see {log or 'above'}. Mend that and give the same command: it goes on with this run"
        )


def _wait_for_own_stage(dvc: subprocess.Popen[bytes], run: Run, log: Path) -> None:
    """Wait until a run has come to the first stage that its seed is of, or has ended."""
    own = f"Running stage '{run.seeded_stage}'"
    while own not in log.read_text("utf-8", errors="replace"):
        try:
            dvc.wait(_SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            continue
        return


def cost_of(run: Run) -> dict[str, dict[str, float]]:
    """Give seconds, and GiB of the largest process, of the stages that were run for a run, here and at any time."""
    return {
        row["stage"]: {name: row[name] for name in ("seconds", "peak_gib")}
        for row in timings.rows()
        if row.get("experiment") == run.experiment and "stage" in row
    }


def is_made(run: Run) -> bool:
    """Tell whether DVC has the experiment of a run: a reference of git's, which git lists in no time."""
    return run.experiment in _said("git", "for-each-ref", "--format=%(refname:lstrip=-1)", "refs/exps").split()


@contextmanager
def data_of(run: Run, *, base: bool = False) -> Iterator[Path]:
    """Give a folder with what a run left: ``dvc.lock``, annotations, answers and adapter, each below its own path.

    With ``base`` the base model too, and what the conversations begin with.

    Raises ``VsdError`` where DVC's cache has it no more.
    """
    import dvc.api
    from dvc.exceptions import DvcException

    wanted = ["dvc.lock", "data/annotations", "data/predictions", "models/adapter", *(_TO_ASK if base else [])]
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


def _said(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, env=_environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        raise VsdError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _environment(jobs: int = 1) -> dict[str, Any]:
    from dvc.config import Config

    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # Threads that wait for a core which another job has make a step many times as slow.
    cores = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))} if jobs > 1 else {}
    # A copy of the checkout is made of links to DVC's cache, where no stage writes in place: sooner, and no space. This
    # stands in for a machine's own settings where there are none.
    own = Path(Config.get_dir("system"), Config.CONFIG).exists()
    links = {} if own else {"DVC_SYSTEM_CONFIG_DIR": str(_CONFIG)}
    return os.environ | {"DVC_NO_ANALYTICS": "1", "PATH": path} | cores | links
