"""A copy of this checkout in a git and DVC repository of its own, for tests that run the pipeline."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from vsd_utils.common.files import sha256
from vsd_utils.common.paths import ROOT


class Project:
    """The copy; ``run`` runs commands in it as a user would, in this environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_this_checkout(cls, folder: Path) -> "Project":
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file() and not name.startswith("reports/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        (folder / "dvc.lock").unlink(missing_ok=True)
        for command in (
            ["git", "init", "--quiet"],
            ["git", "add", "--all"],
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--message", "start"],
        ):
            subprocess.run(command, cwd=folder, check=True)
        return cls(folder)

    def copy(self, folder: Path, *without: str) -> "Project":
        """A copy with all that was made so far, but for files and folders of the names ``without``."""
        shutil.copytree(self.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(*without, "cache"))
        # What DVC keeps in its cache nobody writes to.
        cache = Path(".dvc", "cache")
        shutil.copytree(self.folder / cache, folder / cache, copy_function=os.link)
        return Project(folder)

    def environment(self, **more: str) -> dict[str, str]:
        scripts = str(Path(sys.executable).parent)
        return {
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "HF_HUB_OFFLINE": "1",
            "DVC_NO_ANALYTICS": "1",
            **more,
        }

    def start(self, *command: str, **more: str) -> subprocess.Popen[str]:
        """Start a command in a session of its own, its output together in ``stdout``'s pipe."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str, fails: bool = False, **more: str) -> str:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(**more), capture_output=True, text=True, check=False
        )
        text = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, text
        return text

    def json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text())

    def digests(self, *folders: str) -> dict[str, str]:
        """Digest of each file, and of each below a folder, of ``folders`` by its path in the project."""
        named = [self.folder / name for name in folders]
        found = [path for one in named for path in ([one] if one.is_file() else sorted(one.rglob("*")))]
        files = [path for path in found if path.is_file()]
        return {path.relative_to(self.folder).as_posix(): sha256(path) for path in files}
