"""Whether the checkout's git repository has a commit, which DVCLive needs to log a training."""

import subprocess
from pathlib import Path

from vsd_utils.common.paths import ROOT


def lacks_commit(root: Path = ROOT) -> bool:
    """Say whether ``root`` is in a git repository in which nothing is committed yet.

    False where git is not installed, where there is no repository, and where git refuses to read another user's.
    """
    try:
        return _succeeds(root, "--git-dir") and not _succeeds(root, "--verify", "HEAD")
    except FileNotFoundError:
        return False


def _succeeds(root: Path, *arguments: str) -> bool:
    command = ["git", "rev-parse", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
