"""What a run needs of git, and what it does without."""

import subprocess

import pytest

from vsd_utils.commands import preflight
from vsd_utils.common.git import lacks_commit
from vsd_utils.common.params import Params
from vsd_utils.common.profiles import compose


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout before git knows of it."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    (tmp_path / "P/conf").mkdir(parents=True)
    (tmp_path / "P/dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "P/notes.txt").write_text("mine\n")
    return tmp_path / "P"


def git(folder, *words: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_a_repository_without_a_commit_is_found_before_any_work(folder, monkeypatch) -> None:
    # DVCLive would stop the training for it.
    params = Params.model_validate(compose(["profile=smoke"]))
    monkeypatch.setattr(preflight, "ROOT", folder)
    assert not lacks_commit(folder)  # as in a ZIP download
    git(folder, "init", "--quiet")
    monkeypatch.setattr(preflight.git, "lacks_commit", lambda: lacks_commit(folder))
    (problem,) = preflight.problems(params)
    assert problem.startswith(str(folder))
    assert "git add --all && git commit --message start" in problem
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", str(folder / "conf"))
        assert preflight.problems(params) == []
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    assert preflight.problems(params) == []
