"""The commit that a report names, and why there is none."""

import subprocess

import pytest

from vsd_utils.commands import preflight
from vsd_utils.common.git import commit
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


def test_a_commit_is_named_and_changes_of_the_code_are_told(folder) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "start")
    head = git(folder, "rev-parse", "HEAD")[:10]
    assert commit(folder) == head
    (folder / "notes.txt").write_text("other\n")
    assert commit(folder) == head
    (folder / "conf/mine.yaml").write_text("seed: 1\n")
    assert commit(folder) == f"{head} (with uncommitted changes)"


def test_no_commit_has_its_reason(folder, monkeypatch) -> None:
    assert commit(folder) == "no commit (this is not a git repository, as in a ZIP download)"
    git(folder, "init", "--quiet")
    assert commit(folder) == "no commit (nothing is committed yet: git add --all && git commit --message start)"
    with monkeypatch.context() as other_owner:
        other_owner.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        found = commit(folder)
        assert found.startswith("no commit (git refuses the folder of another user")
        # What it says to type is what helps.
        other_owner.setenv("GIT_CONFIG_GLOBAL", str(folder.parent / "gitconfig"))
        subprocess.run(found.split("told: ")[1].removesuffix(")"), shell=True, cwd=folder, check=True)
        assert "nothing is committed" in commit(folder)
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", str(folder / "conf"))
        assert commit(folder) == "no commit (git is not installed)"
        assert preflight.problems(Params.model_validate(compose(["profile=smoke"]))) == []


def test_a_repository_without_a_commit_is_found_before_any_work(folder, monkeypatch) -> None:
    # DVCLive would stop the training for it.
    params = Params.model_validate(compose(["profile=smoke"]))
    monkeypatch.setattr(preflight, "ROOT", folder)
    assert preflight.problems(params) == []
    git(folder, "init", "--quiet")
    (problem,) = preflight.problems(params)
    assert problem.startswith(str(folder))
    assert "git add --all && git commit --message start" in problem
