"""The parameters: the way from ``conf/`` into ``params.yaml``, and from there into a stage or a notebook.

A section has the name of its stage. ``params.yaml`` is what the next run uses; it is composed from ``conf/`` by Hydra,
by DVC (``dvc exp run -S profile=smoke``) or by ``python -m vsd_utils.params profile=smoke``.
"""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vsd_utils.errors import VsdError
from vsd_utils.paths import CONF, PARAMS, ROOT, WORK
from vsd_utils.sections import Params

HEADER = """\
# The parameters of the next run, composed from conf/ (where each is explained) by `dvc exp run` or by
# `python -m vsd_utils.params`, which replace this file and say which edits of it they replace.
# `dvc repro` takes it as it is, edits included.
"""
SHARED = ("profile", "seed", "threads")  # outside the sections; a notebook takes those that it uses
# What a parameter was called before, and is called now; of a profile: "profile=old": "profile=new".
RENAMED = {"convert.skip_invalid": "fetch.skip_invalid"}


def load(path: Path = PARAMS) -> Params:
    """Read and check ``params.yaml``; raises ``VsdError`` naming every unknown, missing or wrong parameter."""
    try:
        content = _yaml().load(path)
    except FileNotFoundError:
        raise VsdError(f"{path}: no such file. Make it with: python -m vsd_utils.params profile=sample") from None
    except YAMLError as error:
        raise VsdError(f"{path}: not YAML ({error})") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise VsdError("\n".join(_problem(path, problem) for problem in error.errors(include_url=False))) from None


def given(section: str, values: Mapping[str, Any], path: Path = PARAMS) -> dict[str, Any]:
    """The parameters of a notebook: what the pipeline gave it, and for a reader by hand what ``params.yaml`` says.

    ``values`` are the notebook's variables; one that is still ``...`` was not given and is taken from the file. The
    result holds the section's names and those shared ones that the notebook takes, all checked; raises ``VsdError`` as
    ``load`` does.
    """
    current = load(path).model_dump()
    shared = [name for name in SHARED if name in values]
    names = [*shared, *current[section]]
    missing = [name for name in names if name not in values]
    if missing:
        raise VsdError(
            f"the notebook's parameters cell has no {', '.join(missing)}; params.yaml, section {section}, does"
        )
    chosen = {name: values[name] for name in names if values[name] is not ...}
    merged = current | {name: chosen[name] for name in shared if name in chosen}
    merged[section] = current[section] | {name: value for name, value in chosen.items() if name not in SHARED}
    try:
        checked = Params.model_validate(merged).model_dump()
    except ValidationError as error:
        raise VsdError(
            "\n".join(_problem(Path("parameters"), problem) for problem in error.errors(include_url=False))
        ) from None
    return {name: checked[name] for name in shared} | checked[section]


def compose(overrides: list[str], conf: Path = CONF) -> dict[str, Any]:
    """What Hydra makes of ``conf/`` and overrides such as ``profile=smoke`` or ``finetune.epochs=2``.

    A path may be written as it is, with blanks, brackets or ``=``. Raises ``VsdError`` for a profile or a name that is
    not there or has another name now. Values are checked by ``Params`` only.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    named = [override.lstrip("+~").partition("=") for override in overrides]
    if renamed := [said for name, _, value in named if (said := _renamed(name, value))]:
        raise VsdError("\n".join(renamed))
    try:
        with hydra.initialize_config_dir(str(conf), version_base=None):
            composed = OmegaConf.to_container(hydra.compose("config", list(map(_readable, overrides))), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise VsdError(
            f"{' '.join(overrides)}: {error}\nconf/config.yaml lists all names, conf/profile the profiles."
        ) from None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def overrides(params: Params, conf: Path = CONF) -> list[str]:
    """Where ``params`` differs from its profile in ``conf/``: ``["finetune.epochs=2.0", ...]``, for ``compose``."""
    usual = _flat(Params.model_validate(compose([f"profile={params.profile}"], conf)).model_dump())
    changed = {name: value for name, value in _flat(params.model_dump()).items() if usual[name] != value}
    return [f"{name}={_written(value)}" for name, value in changed.items()]


def say_what_is_replaced(root: Path = ROOT, arguments: Sequence[str] = sys.argv) -> None:
    """Keep a copy of the ``params.yaml`` in ``root`` that is about to be composed anew, and say what of it goes.

    Told on standard error are the values that differ from the file's own profile and that ``arguments``, the command
    line, does not give: edits by hand, and what an earlier ``-S`` set. Nothing is said where nothing is lost.
    """
    global _comparing  # composing the profile to compare with asks Hydra's plugins again
    path = root / PARAMS.name
    if _comparing or not path.is_file():
        return
    _comparing = True
    try:
        replaced = overrides(load(path), root / CONF.name)
    except VsdError as error:
        replaced = [f"all of it, which could not be read ({str(error).splitlines()[0]})"]
    finally:
        _comparing = False
    given = {argument.lstrip("+~").split("=")[0] for argument in arguments if "=" in argument}
    given |= {argument.removeprefix("-S").split("=")[0] for argument in arguments if argument.startswith("-S")}
    replaced = [value for value in replaced if value.split("=")[0] not in given]
    if not replaced:
        return
    copy = root / WORK.name / "params.replaced.yaml"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    again = " ".join(f"-S {shlex.quote(value)}" for value in replaced if "=" in value)
    print(
        f"{path.name} is composed anew from conf/. These values of it are replaced: {', '.join(replaced)}\n"
        f"  kept in {copy.relative_to(root)}. To run with them: dvc repro takes {path.name} as it is, "
        f"dvc exp run --no-hydra too, or say them again: {again}",
        file=sys.stderr,
    )


_comparing = False


def _readable(override: str) -> str:
    """The override with its value in quotes, where Hydra's grammar cannot read it as it stands: paths, mostly."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    name, given, value = override.partition("=")
    try:
        if not OverridesParser.create().parse_override(override).is_sweep_override():
            return override
    except HydraException:
        pass
    return f"{name}={_written(value)}" if given else override


def _renamed(name: str, value: Any) -> str | None:
    if name in RENAMED:
        return f"parameter {name} is now {RENAMED[name]}"
    if new := RENAMED.get(f"{name}={value}"):
        return f"{name} {value} is now {new.partition('=')[2]}"
    return None


def _written(value: Any) -> str:
    """As Hydra reads it: ``null``, ``true``, ``[1,2]``, plain words bare, other text in quotes."""
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if re.fullmatch(r"(?!(null|true|false|nan|inf)$)[A-Za-z./][\w./-]*", value, re.IGNORECASE | re.ASCII):
        return value
    # In Hydra's quotes a backslash stands for itself, but before a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2].replace('"', '\\"'), value)
    return f'"{escaped}"'


def _flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return flat


def _yaml() -> YAML:
    # DVC's grammar, YAML 1.2, in which 2e-4 is a number; PyYAML's is 1.1, where it is a string.
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def _problem(path: Path, problem: Any) -> str:
    name = ".".join(map(str, problem["loc"])) or "the file"
    if renamed := _renamed(name, problem["input"]):
        return f"{path}: {renamed}"
    if problem["type"] == "missing":
        return f"{path}: parameter {name} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{path}: parameter {name} is not known; no stage takes it. Is it misspelt?"
    return f"{path}: parameter {name} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"


def main() -> None:
    """Compose ``params.yaml`` from ``conf/`` with the overrides on the command line."""
    overrides = sys.argv[1:]
    composed = compose(overrides)
    candidate = PARAMS.with_name(".params.yaml")
    with candidate.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        _yaml().dump(composed, file)
    try:
        profile = load(candidate).profile
        say_what_is_replaced()
        candidate.replace(PARAMS)
    finally:
        candidate.unlink(missing_ok=True)
    changed = [override for override in overrides if not override.startswith("profile=")]
    print(", ".join([f"params.yaml: profile {profile}", *changed]))


if __name__ == "__main__":
    try:
        main()
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
