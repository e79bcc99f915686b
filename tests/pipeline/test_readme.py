"""Every path and command that the README names exists."""

import re
import subprocess

from ruamel.yaml import YAML

from vsd_utils.__main__ import VERBS
from vsd_utils.common.paths import ROOT

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)\n *```", TEXT, re.DOTALL)
INLINE = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
# Files of the user, which the text says to bring.
BROUGHT = ("sources/", "VSDv1/", "VSDv2/", "dataset/")


def made() -> set[str]:
    """Paths that the pipeline writes."""
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    found = {"data/", "models/", "reports/", "work/", ".venv", "params.yaml", "dvc.lock"}
    for stage in stages.values():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            found.add(out if isinstance(out, str) else next(iter(out)))
    return found


def exists(path: str) -> bool:
    inside = any(path.rstrip("/") == out.rstrip("/") or path.startswith(out.rstrip("/") + "/") for out in made())
    return inside or (ROOT / path).exists()


def test_every_path_exists_or_is_made_by_the_pipeline() -> None:
    paths = [text for text in INLINE if re.fullmatch(r"[\w./-]+(/|\.\w+)[\w.]*", text) and not text.startswith("-")]
    paths = [path for path in paths if not path.startswith(BROUGHT)]
    assert len(paths) > 15
    assert [path for path in paths if not exists(path)] == []
    for path in re.findall(r"\]\((?!http)([^)]+)\)", TEXT):
        assert exists(path)


def test_the_tree_names_what_there_is() -> None:
    tree = next(body for kind, body in BLOCKS if kind == "text")
    top = [word for line in tree.splitlines() if line[0] != " " for word in line.split("  ")[0].split()]
    assert [name for name in top if not exists(name)] == []
    named, room = [], ""
    for line in tree.splitlines():
        word = line.split()[0]
        if line.startswith("    "):
            named.append(f"{room}{word}")
        elif line.startswith("  "):
            room = word if word.endswith("/") else ""
            named += [] if room else [word]
    package = ROOT / "vsd_utils"
    modules = [path.relative_to(package).as_posix() for path in package.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(named) == sorted(modules)


def test_every_command_exists() -> None:
    commands = [line.strip().split("#")[0] for kind, body in BLOCKS if kind == "sh" for line in body.splitlines()]
    commands += [text for text in INLINE if re.match(r"(make|dvc|vsd|python -m|conda|pip|jupyter) ", text)]
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    checked = 0
    for command in commands:
        words = command.split()
        if words[:1] == ["make"]:
            assert words[1] in targets, command
        elif words[:2] == ["python", "-m"]:
            assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").is_file(), command
        elif words[:1] == ["dvc"]:
            assert words[1] in ("exp", "repro", "metrics", "cache", "config"), command
        elif words[:1] == ["vsd"]:
            assert words[1] in (*VERBS, "--help"), command
        else:
            continue
        checked += 1
        for flag in re.findall(r"-S ([\w.]+)=(\w+)", command):  # with + before it, a name that conf/ lacks
            name, value = flag
            assert (ROOT / "conf/profile" / f"{value}.yaml").is_file() if name == "profile" else known(name), command
    assert checked > 8


def known(parameter: str) -> bool:
    tree = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    for part in parameter.split("."):
        if part not in tree:
            return False
        tree = tree[part]
    return True


def test_reports_that_the_readme_shows_are_kept_in_git() -> None:
    for path in ("reports/figures/examples.png", "reports/tables/main.md", "reports/metrics.json"):
        ignored = subprocess.run(["git", "check-ignore", "--quiet", path], cwd=ROOT, check=False)
        assert ignored.returncode == 1, f"{path} is ignored by git"
