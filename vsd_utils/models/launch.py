"""A module of the package as one process or several, started by ``accelerate launch`` from a stage.

The module is given the path of a job, a JSON file. What it prints is shown while it runs; it ends with the stage, and
where it fails the stage fails with what it said last.
"""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import torch

from vsd_utils.common import lifetime
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, write_json, write_text
from vsd_utils.common.paths import CONF, user_path
from vsd_utils.common.progress import LINE
from vsd_utils.models.loading import device

Job = Mapping[str, Any]
REPLICAS = "ddp"  # the configuration in which every process holds a whole model
LAUNCHER = "VSD_LAUNCHER"  # variable: a program that takes accelerate launch's arguments, for many machines
_SHOWN_LINES = 40  # the launcher adds thirty of its own to what a process said
_OWN_CPU_FILE = CONF / "accelerate" / "multi_cpu.yaml"


def config_file(name: str, processes: int) -> Path:
    """Find the configuration that ``accelerate launch`` is given for ``processes`` processes.

    ``name`` is "ddp", one of the other files that TRL ships (fsdp1, fsdp2, zero1, zero2, zero3) or a path of the
    user's. Raises ``VsdError`` where there is no such file, or it needs a device or a package that is not here.
    """
    shipped = {path.stem: path for path in _trl_folder().glob("*.yaml")}
    kind = device().split(":")[0]
    if name == REPLICAS:
        if kind == "mps" and processes > 1:
            raise VsdError(f"processes = {processes}: Apple's GPU is one device. Set processes=1.")
        if processes == 1:
            return shipped["single_gpu"]  # which is for any one device
        return shipped["multi_gpu"] if kind == "cuda" else _OWN_CPU_FILE
    if name in shipped:
        if kind != "cuda":
            raise VsdError(f"finetune.accelerate_config = {name!r} needs NVIDIA GPUs, found {kind}. Set it to ddp.")
        if name.startswith("zero") and find_spec("deepspeed") is None:
            raise VsdError(
                f"finetune.accelerate_config = {name!r} needs DeepSpeed, which is not installed here: "
                "pip install deepspeed, or set it to fsdp2 or ddp."
            )
        return shipped[name]
    path = user_path(name)
    if not path.is_file():
        raise VsdError(
            f"finetune.accelerate_config = {name!r}: no such file ({path}). Expected {REPLICAS}, one of TRL's "
            f"({', '.join(sorted(shipped))}), or the path of a file that `accelerate config` has written."
        )
    return path


def launch(module: str, job: Job, folder: Path, processes: int, config: str) -> None:
    """Run ``python -m module JOB`` in ``processes`` processes and wait for them; the job lies in ``folder``.

    ``config`` is as in ``config_file``. Raises ``VsdError`` with what the module said where it fails.
    """
    path = folder / "job.json"
    write_json(path, job)
    _problem_file(path).unlink(missing_ok=True)
    # 1. The same command for one process and for many.
    command = [
        *("--config_file", str(config_file(config, processes)), "--num_processes", str(processes)),
        *("--num_cpu_threads_per_process", str(max(1, torch.get_num_threads() // processes))),
        *("--mixed_precision", "no"),  # the job says how it computes
        "--quiet",  # of one process the error alone, without the launcher's own
        *("-m", module, str(path)),
    ]
    variables = {**os.environ, "TORCH_CPP_LOG_LEVEL": "ERROR"}
    if launcher := os.environ.get(LAUNCHER):
        command = [launcher, *command]
    else:
        # Port 0: any free one, so that two checkouts can train side by side.
        start = [sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0"]
        command = lifetime.bound([*start, *command])
        variables[lifetime.LAUNCHED_BY] = str(os.getpid())
    # 2. What it prints, as it comes.
    last: deque[str] = deque(maxlen=_SHOWN_LINES)
    with subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None, "it was asked for"
        try:
            for line in process.stdout:
                print(line, end="", file=sys.__stderr__, flush=True)
                if not LINE.fullmatch(line):
                    last.append(line)
        except BaseException:  # a reader interrupts the notebook
            _kill(process.pid)
            raise
    # 3. What became of it.
    if process.returncode:
        if _problem_file(path).is_file():
            raise VsdError(_problem_file(path).read_text(encoding="utf-8"))
        said = "".join(last).strip() or "nothing"
        raise VsdError(
            f"{module} ended with status {process.returncode} in one of {processes} processes. The last it said:\n"
            f"{said}\nThe same command goes on where it was."
        )


def run_launched(work: Callable[[Job], None]) -> int:
    """Do ``work`` on the job that the command line names, as one of the processes that ``launch`` has started.

    Returns the exit status; a ``VsdError`` becomes the error of the stage.
    """
    lifetime.end_with_launcher()
    path = Path(sys.argv[1])
    try:
        work(read_json(path))
    except VsdError as error:
        write_text(_problem_file(path), str(error))
        return 2
    return 0


def place() -> tuple[int, int]:
    """Say which process of how many this one is, counted from 0, by the variables that torch's launcher sets."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def _problem_file(job: Path) -> Path:
    return job.with_name("problem.txt")


def _trl_folder() -> Path:
    spec = find_spec("trl")
    assert spec is not None, "TRL is installed with this package"
    assert spec.origin is not None, "TRL is a folder of modules"
    return Path(spec.origin).parent / "accelerate_configs"


def _kill(pid: int) -> None:
    try:
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
