"""A process ends when the one above it does: DVC, its shell, a stage, the stage's kernel, its workers, Java.

A signal to DVC alone would otherwise leave its stage at work, which the next start would find writing beside it. On
Linux the system itself ends a process whose parent has ended; everywhere a thread looks after the processes above.

    python lifetime.py 123 java -version    # a program that ends when process 123, which starts it, does
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

import psutil  # type: ignore[import-untyped]

_DVC_STAGE = "DVC_STAGE"  # DVC gives it to what it runs
LAUNCHED_BY = "VSD_LAUNCHED_BY"  # the process that launched others through accelerate gives them its number
_SECONDS_BETWEEN_LOOKS = 0.5
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h


def end_with_dvc() -> None:
    """End this process and all below it when DVC, which has started it, or a shell between the two has ended.

    Does nothing in a process that DVC has not started: whoever runs a stage by hand may log out.
    """
    if _DVC_STAGE not in os.environ:
        return
    line = [psutil.Process()]
    while above := line[-1].parent():
        line.append(above)
        if not _is_dvcs(above):
            break
    if not _may_be_dvc(line[-1]):
        _end()  # DVC had ended before this process looked: the system's init process has adopted its children
    _end_with(line)


def end_with_parent() -> None:
    """End this process and all below it when its parent has ended."""
    _end_with([psutil.Process(), psutil.Process(os.getppid())])


def end_with_launcher() -> None:
    """End this process and all below it when one above it has ended, up to the one whose number ``LAUNCHED_BY`` gives.

    Does nothing where the variable is not set.
    """
    if LAUNCHED_BY not in os.environ:
        return
    first, line = int(os.environ[LAUNCHED_BY]), [psutil.Process()]
    while line[-1].pid != first:
        above = line[-1].parent()
        if above is None:
            _end()  # one of them had ended before this process looked
        line.append(above)
    _end_with(line)


def bound(command: Sequence[str]) -> list[str]:
    """Build the command line that runs ``command`` so that it ends when the process that starts it does."""
    return [sys.executable, "-I", __file__, str(os.getpid()), *command]


def _end_with(line: Sequence[psutil.Process]) -> None:
    _let_the_system_end_it(line[1].pid)
    threading.Thread(target=_look_after, args=(line,), name="lifetime", daemon=True).start()


def _let_the_system_end_it(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            _end()


def _look_after(line: Sequence[psutil.Process]) -> None:
    while all(map(_is_child, line, line[1:])):
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    _end()


def _is_child(process: psutil.Process, parent: psutil.Process) -> bool:
    # A parent's death changes its children's parent on POSIX systems, also while it waits, as a zombie, for its own.
    try:
        return process.ppid() == parent.pid and parent.is_running()
    except psutil.NoSuchProcess:
        return False


def _is_dvcs(process: psutil.Process) -> bool:
    try:
        return _DVC_STAGE in process.environ()
    except psutil.Error:  # another user's
        return False


def _may_be_dvc(process: psutil.Process) -> bool:
    try:
        return any(name in word for word in (process.name(), *process.cmdline()) for name in ("dvc", "python"))
    except psutil.Error:
        return False


def _end() -> None:
    for process in psutil.Process().children(recursive=True):
        try:
            process.kill()
        except psutil.Error:
            continue
    os._exit(1)


def main() -> int:
    """Run a program; see the module's description. On Linux it takes this process's place."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        _let_the_system_end_it(parent)
        os.execv(command[0], command)
    with subprocess.Popen(command) as program:
        _end_with([psutil.Process(), psutil.Process(parent)])
        code = program.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
