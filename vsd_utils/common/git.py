"""What a run needs of git: DVCLive, which logs the training, stops in a repository without a commit."""

import os
import subprocess
from pathlib import Path

from vsd_utils.common.paths import ROOT


def lacks_commit(root: Path = ROOT) -> bool:
    """Whether ``root`` lies in a git repository in which nothing is committed yet; False where git cannot tell."""
    try:
        return _git(root, "rev-parse", "--git-dir") and not _git(root, "rev-parse", "--verify", "HEAD")
    except FileNotFoundError:  # git is not installed
        return False


def _git(root: Path, *arguments: str) -> bool:
    english = os.environ | {"LC_ALL": "C"}
    return subprocess.run(["git", *arguments], cwd=root, capture_output=True, env=english, check=False).returncode == 0
