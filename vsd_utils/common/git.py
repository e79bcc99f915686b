"""The commit of the code, or why there is none: a run needs git only to name it."""

import os
import subprocess
from pathlib import Path

from vsd_utils.common.paths import ROOT

CODE = ("vsd_utils", "notebooks", "conf", "dvc.yaml", "requirements.lock")
NOTHING_COMMITTED = "nothing is committed yet: git add --all && git commit --message start"


def commit(root: Path = ROOT) -> str:
    """Read the short hash of the commit, marked where the code differs from it; "no commit" with the reason."""
    try:
        head = _git(root, "rev-parse", "--verify", "--short=10", "HEAD")
        if head.returncode:
            return f"no commit ({_reason(root, head.stderr)})"
        changed = _git(root, "status", "--porcelain", "--", *CODE).stdout.strip()
    except FileNotFoundError:
        return "no commit (git is not installed)"
    return head.stdout.strip() + (" (with uncommitted changes)" if changed else "")


def _reason(root: Path, message: str) -> str:
    if "safe.directory" in message:
        return 'git refuses the folder of another user, until told: git config --global --add safe.directory "$PWD"'
    if _git(root, "rev-parse", "--git-dir").returncode:
        return "this is not a git repository, as in a ZIP download"
    return NOTHING_COMMITTED


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    english = os.environ | {"LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, env=english, check=False)
