"""What ends when DVC, a stage or a kernel is killed, with real processes; and the lock that keeps two stages apart."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from project import Project

from vsd_utils.common import lifetime
from vsd_utils.common.paths import ROOT

SOON = 30.0  # seconds


def wait_until(true: Callable[[], object], seconds: float = SOON) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of this checkout whose first stage has a minute's work."""
    project = Project.of_this_checkout(tmp_path_factory.mktemp("checkout"))
    project.run("python", "-m", "vsd_utils", "profile", "mini")
    return project


@pytest.fixture(params=["the shell becomes the stage", "the shell waits for the stage"])
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "the shell becomes the stage":
        return "/bin/sh"
    path = tmp_path / "waiting"
    path.write_text('#!/bin/sh\n/bin/sh "$@"\nexit $?\n')
    path.chmod(0o755)
    return str(path)


def test_nothing_is_left_when_dvc_alone_is_told_to_end_and_it_can_be_started_again(
    checkout: Project, shell: str
) -> None:
    def pictures() -> list[Path]:
        return list((checkout.folder / "data").glob(".images.*.part/*.jpg"))

    dvc = checkout.start("dvc", "repro", "fetch", SHELL=shell)
    try:
        wait_until(pictures)
        tree = psutil.Process(dvc.pid).children(recursive=True)
        assert len(tree) >= 4  # the stage and a worker for each split
        # A second stage beside it is refused, and told by whom.
        second = checkout.start(sys.executable, "-m", "vsd_utils", "prepare-model", "refiner")
        said, _ = second.communicate()
        assert second.returncode == 2
        assert said.startswith("error: stage fetch is running in this checkout (process ")
        assert int(said.split("process ")[1].split()[0]) in {process.pid for process in tree}
        dvc.terminate()
        dvc.communicate()
        assert psutil.wait_procs(tree, timeout=SOON)[1] == []
    finally:
        for process in psutil.Process(os.getpid()).children(recursive=True):
            process.kill()
    assert pictures()
    assert not (checkout.folder / "data/images").exists()
    # Again, with less to do.
    checkout.run("python", "-m", "vsd_utils", "profile", "smoke")
    checkout.run("dvc", "repro", "--force", "fetch", SHELL=shell)
    assert len(list((checkout.folder / "data/images").iterdir())) == 54
    assert not pictures()
    checkout.run("python", "-m", "vsd_utils", "profile", "mini")


NOTEBOOK = """
import subprocess, sys
from pathlib import Path
import torch
from vsd_utils.common import lifetime

class Slow(torch.utils.data.Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, index):
        import os, time
        Path(f"worker-{os.getpid()}").touch()
        time.sleep(0.1)
        return index

waiting = [sys.executable, "-c", "import os, time; open(f'program-{os.getpid()}', 'w'); time.sleep(600)"]
program = subprocess.Popen(lifetime.bound(waiting))
for _ in torch.utils.data.DataLoader(Slow(), num_workers=1):
    Path("at-work").touch()
"""


def test_kernel_workers_and_programs_end_with_their_stage(checkout: Project) -> None:
    checkout.run("dvc", "repro", "clean")
    notebook = checkout.folder / "data/notebooks/convert.ipynb"
    import nbformat

    content = nbformat.read(notebook, as_version=4)
    content.cells = [*content.cells[:2], nbformat.v4.new_code_cell(NOTEBOOK)]
    nbformat.write(content, notebook)
    stage = checkout.start(sys.executable, "-m", "vsd_utils", "run-notebook", "convert")
    written = checkout.folder / "notebooks"
    try:
        wait_until(lambda: (written / "at-work").exists() and any(written.glob("program-*")))
        tree = psutil.Process(stage.pid).children(recursive=True)
        names = {path.name for path in written.iterdir()}
        kinds = {kind: [one for one in tree if f"{kind}-{one.pid}" in names] for kind in ("worker", "program")}
        assert all(kinds.values())
        stage.kill()
        assert psutil.wait_procs(tree, timeout=SOON)[1] == []
    finally:
        stage.kill()
        stage.communicate()


def test_a_stage_that_dvc_has_not_started_outlives_the_shell(tmp_path: Path) -> None:
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    script += "from vsd_utils.common import lifetime; lifetime.end_with_dvc(); "
    script += "import time; open('started', 'w'); time.sleep(2 * lifetime._SECONDS_BETWEEN_LOOKS); open('done', 'w')"
    shell = ["/bin/sh", "-c", f'"$0" -c "{script}" & sleep 100', sys.executable]
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    process = subprocess.Popen(shell, cwd=tmp_path, env=environment)
    wait_until((tmp_path / "started").exists)
    process.kill()
    process.wait()
    wait_until((tmp_path / "done").exists)


def test_a_bound_program_is_the_program_itself_with_its_input_output_and_status() -> None:
    command = [sys.executable, "-c", "import sys; print(sys.stdin.read().upper()); sys.exit(7)"]
    done = subprocess.run(lifetime.bound(command), input="given", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (7, "GIVEN\n")


HOLD = """
import os, sys, time
from pathlib import Path
from vsd_utils.common import work_lock
with work_lock.held("first", Path(sys.argv[1])):
    if os.fork() == 0:
        Path(sys.argv[1] + ".child").write_text(str(os.getpid()))
    time.sleep(600)
"""


def test_a_killed_process_holds_no_lock_even_while_its_child_lives(tmp_path: Path) -> None:
    from vsd_utils.common import work_lock
    from vsd_utils.common.errors import VsdError

    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT)
    wait_until(lambda: (tmp_path / "lock.child").is_file() and (tmp_path / "lock.child").read_text())
    child = int((tmp_path / "lock.child").read_text())
    try:
        with pytest.raises(
            VsdError, match=rf"stage first is running in this checkout \(process {holder.pid} on .* since 2"
        ):
            work_lock.held("second", path).__enter__()
        holder.kill()
        holder.wait()
        assert psutil.pid_exists(child)
        with work_lock.held("second", path):
            pass
    finally:
        holder.kill()
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("committed", [True, False])
def test_what_a_killed_dvc_left_half_written_is_mended_and_finished_stages_come_back(
    tmp_path: Path, committed: bool
) -> None:
    project = Project.of_this_checkout(tmp_path / "project")
    project.run("dvc", "repro", "clean")
    lock, locks = project.folder / "dvc.lock", project.folder / ".dvc/tmp/rwlock"
    text = lock.read_text()
    if committed:
        project.run("git", "add", "dvc.lock")
        project.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "lock")
    for cut in (0, text.index("path:") + 3):
        lock.write_text(text[:cut])
        locks.write_text("")
        project.run("dvc", "repro", "clean", fails=True)
        said = project.run("python", "-m", "vsd_utils", "mend")
        assert [line.split(":")[0] for line in said.splitlines()] == ["dvc.lock", ".dvc/tmp/rwlock"]
        assert lock.exists() is committed
        assert "Running stage" not in project.run("dvc", "repro", "clean")
        assert lock.read_text() == text
    assert project.run("python", "-m", "vsd_utils", "mend") == ""


LAUNCHED = """
import subprocess, sys, os, time
sys.path.insert(0, sys.argv[1])
from vsd_utils.common import lifetime
if sys.argv[2] == "stage":
    os.environ[lifetime.LAUNCHED_BY] = str(os.getpid())
if sys.argv[2] == "rank":
    lifetime.end_with_launcher()
    open(f"rank-{os.getpid()}", "w")
    time.sleep(600)
below = {"stage": "launcher", "launcher": "rank"}[sys.argv[2]]
subprocess.run([sys.executable, "-c", sys.argv[3], sys.argv[1], below, sys.argv[3]])
"""


def test_what_a_launcher_started_ends_with_the_stage_that_started_the_launcher(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LAUNCHED, str(ROOT), "stage", LAUNCHED]
    stage = subprocess.Popen(command, cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("rank-*")))
    tree = psutil.Process(stage.pid).children(recursive=True)
    assert len(tree) == 2
    stage.kill()
    stage.wait()
    assert psutil.wait_procs(tree, timeout=SOON)[1] == []
    # One that starts when the stage has already ended does nothing.
    late = [sys.executable, "-c", LAUNCHED, str(ROOT), "rank", LAUNCHED]
    done = subprocess.run(late, cwd=tmp_path, env={**os.environ, lifetime.LAUNCHED_BY: str(stage.pid)})
    assert done.returncode == 1
    assert len(list(tmp_path.glob("rank-*"))) == 1
