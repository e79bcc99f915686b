"""One set of versions: pyproject.toml pins it, the lock and the conda file say the same."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
from ruamel.yaml import YAML

from vsd_utils.common.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
SOURCES = packages_distributions()  # top-level name -> packages that install it
LOCK = (ROOT / "requirements.lock").read_text()


def pin(requirement: str) -> tuple[str, str]:
    """Normalised name and version; fails on anything that is no exact pin."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)==([0-9][\w.+!-]*)", requirement)
    assert match, f"{requirement!r} is not an exact pin"
    return re.sub(r"[-_.]+", "-", match[1]).lower(), match[2]


def pins(requirements: list[str]) -> dict[str, str]:
    found = dict(map(pin, requirements))
    assert len(found) == len(requirements), "a name is pinned twice"
    return found


def third_party(path: Path) -> set[str]:
    """Top-level names of the packages that a module or a notebook imports, anywhere in it."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    ours = {"vsd_utils", *(path.stem for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))}
    return {name.split(".")[0] for name in names} - sys.stdlib_module_names - ours


def locked() -> list[tuple[str, str]]:
    """Each requirement of the lock, with all that follows it up to the next one."""
    starts = [match.start() for match in re.finditer(r"^(?=[A-Za-z0-9])", LOCK, re.MULTILINE)]
    entries = [LOCK[start:end] for start, end in zip(starts, [*starts[1:], len(LOCK)], strict=True)]
    return [(re.split(r"[ ;\\]", entry, maxsplit=1)[0], entry) for entry in entries]


def test_every_direct_dependency_is_locked_at_its_version() -> None:
    direct = pins(DIRECT)
    all_of_it = [pin(name) for name, _ in locked()]  # one may stand there twice, for two Pythons
    assert len(direct) > 40
    assert len({name for name, _ in all_of_it}) > 2 * len(direct)
    # The build back-end of an editable install is locked too, so that nothing comes from outside the lock.
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    for name, version in (direct | pins(build)).items():
        assert [other for found, other in all_of_it if found == name] == [version]


@pytest.mark.parametrize("folder", ["vsd_utils", "notebooks", "tests", "benchmarks"])
def test_what_the_code_imports_is_a_direct_dependency(folder) -> None:
    # What another package brings along may be gone with its next version.
    files = [path for kind in ("*.py", "*.ipynb") for path in (ROOT / folder).rglob(kind)]
    allowed = pins(PROJECT["dependencies"] if folder in ("vsd_utils", "notebooks") else DIRECT)
    undeclared = {
        name: str(path.relative_to(ROOT))
        for path in files
        for name in third_party(path)
        if not {re.sub(r"[-_.]+", "-", source).lower() for source in SOURCES.get(name, [])} & allowed.keys()
    }
    assert files
    assert undeclared == {}


def test_every_locked_file_has_a_hash_and_no_host() -> None:
    for name, entry in locked():
        hashes = re.findall(r"--hash=(\S+)", entry)
        assert hashes, name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), name
    for host in ("://", "index-url", "find-links", " @ ", "git+"):
        assert host not in LOCK


def test_conda_users_get_the_same_versions() -> None:
    environment = YAML(typ="safe", pure=True).load(ROOT / "environment.yml")
    assert environment["name"] == "llava-vsd"
    assert environment["channels"] == ["conda-forge"]
    python, pip, section = environment["dependencies"]
    assert (python, pip) == ("python=3.11.*", "pip")
    assert pins(section["pip"]) == pins(DIRECT)
    assert PROJECT["requires-python"] == ">=3.11,<3.13"


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)[1].split()
    assert {"repro", "test", "lint", "lab", "help"} <= {*phony}
    shown = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    listed = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert listed.keys() == {*phony}
    assert all(len(text) > 5 for text in listed.values())
    for target in phony:
        assert re.search(rf"^{target}:.*## {re.escape(listed[target])}$", makefile, re.MULTILINE)


def test_make_says_at_once_what_a_zip_download_lacks(tmp_path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    alone = os.environ | {"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run(["make", "repro"], cwd=tmp_path, capture_output=True, text=True, env=alone)
    assert done.returncode == 2
    assert "git init && git add --all && git commit" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"Makefile"}
