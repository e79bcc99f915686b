"""A repository without a commit is found, and nothing else is taken for one."""

import subprocess

import pytest

from vsd_utils.commands import preflight
from vsd_utils.common.git import lacks_commit
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout before git knows of it."""
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "P/conf").mkdir(parents=True)
    (tmp_path / "P/dvc.yaml").write_text("stages: {}\n")
    return tmp_path / "P"


def git(folder, *words: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *words]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def test_only_a_repository_without_a_commit_lacks_one(folder, monkeypatch) -> None:
    assert not lacks_commit(folder)  # a ZIP download
    git(folder, "init", "--quiet")
    assert lacks_commit(folder)
    with monkeypatch.context() as other_owner:
        other_owner.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert not lacks_commit(folder)
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", str(folder / "conf"))
        assert not lacks_commit(folder)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    assert not lacks_commit(folder)


def test_a_repository_without_a_commit_is_found_before_any_work(folder, monkeypatch) -> None:
    # DVCLive would stop the training for it.
    params = Params.model_validate(compose(["profile=smoke"]))
    monkeypatch.setattr(preflight, "ROOT", folder)
    assert preflight.problems(params) == []
    git(folder, "init", "--quiet")
    (problem,) = preflight.problems(params)
    assert problem.startswith(str(folder))
    assert "git add --all && git commit --message start" in problem
