"""The profiles: how ``conf/`` becomes ``params.yaml``, which is what the next run uses.

It is composed by Hydra: by ``dvc exp run -S profile=smoke`` or by ``vsd profile smoke``.
"""

import json
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from vsd_utils.common.errors import VsdError
from vsd_utils.common.parameter_problems import new_name
from vsd_utils.common.params import load, yaml_reader
from vsd_utils.common.paths import CONF, PARAMS, ROOT, WORK
from vsd_utils.common.sections import Params

HEADER = """\
# The parameters of the next run, composed from conf/ (where each is explained) by `dvc exp run` or by
# `vsd profile`, which replace this file and say which edits of it they replace.
# `dvc repro` takes it as it is, edits included.
"""
PROFILES = ("mini", "boxes", "rehearsal", "paper", "paper_24gb", "smoke")


def compose(overrides: list[str], conf: Path = CONF) -> dict[str, Any]:
    """Compose ``conf/`` and overrides as Hydra does, such as ``profile=smoke`` or ``finetune.max_steps=2``.

    A path may be written as it is, with blanks, brackets or ``=``. Raises ``VsdError`` for a profile or a name that is
    not there or has another name now. Values are checked by ``Params`` only.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    named = [override.lstrip("+~").partition("=") for override in overrides]
    if renamed := [said for name, _, value in named if (said := new_name(name, value))]:
        raise VsdError("\n".join(renamed))
    try:
        with hydra.initialize_config_dir(str(conf), version_base=None):
            composed = OmegaConf.to_container(hydra.compose("config", list(map(readable, overrides))), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise VsdError(
            f"{' '.join(overrides)}: {error}\nconf/config.yaml lists all names, conf/profile the profiles."
        ) from None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def overrides(params: Params, conf: Path = CONF) -> list[str]:
    """List where ``params`` differs from its profile, for ``compose``: ``["finetune.r=8", ...]``.

    A name that the profile lacks, of a further field, has a ``+`` before it.
    """
    usual = _flat(Params.model_validate(compose([f"profile={params.profile}"], conf)).model_dump())
    # What the profile has as null, a server say, is named as a whole: Hydra sets no field of nothing.
    found = _flat(params.model_dump(), whole={name for name, value in usual.items() if value is None})
    changed = {name: value for name, value in found.items() if name not in usual or usual[name] != value}
    return [f"{'' if name in usual else '+'}{name}={_written(value)}" for name, value in changed.items()]


def say_what_is_replaced(root: Path = ROOT, arguments: Sequence[str] = sys.argv) -> None:
    """Keep a copy of the ``params.yaml`` in ``root`` that is about to be composed anew, and say what of it goes.

    Told on standard error are the values that differ from the file's own profile and that ``arguments``, the command
    line, does not give: edits by hand, and what an earlier ``-S`` set. Nothing is said where nothing is lost.
    """
    global _comparing  # composing the profile to compare with asks Hydra's plugins again
    path = root / PARAMS.name
    if _comparing or not path.is_file() or "--temp" in arguments:  # which composes in a copy of the checkout
        return
    _comparing = True
    try:
        replaced = overrides(load(path), root / CONF.name)
    except VsdError as error:
        replaced = [f"all of it, which could not be read ({str(error).splitlines()[0]})"]
    finally:
        _comparing = False
    given = {argument.lstrip("+~").split("=")[0] for argument in arguments if "=" in argument}
    given |= {argument.removeprefix("-S").lstrip("+~").split("=")[0] for argument in arguments if argument[:2] == "-S"}
    replaced = [value for value in replaced if value.lstrip("+").split("=")[0] not in given]
    if not replaced:
        return
    copy = root / WORK.name / "params.replaced.yaml"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
    again = " ".join(f"-S {shlex.quote(value)}" for value in replaced if "=" in value)
    how = f". To run with them: dvc repro takes {path.name} as it is, dvc exp run --no-hydra too, or say them again: "
    print(
        f"{path.name} is composed anew from conf/. These values of it are replaced: {', '.join(replaced)}\n"
        f"  kept in {copy.relative_to(root)}{how + again if again else ''}",
        file=sys.stderr,
    )


_comparing = False


def readable(override: str) -> str:
    """Put the override's value in quotes where Hydra's grammar cannot read it as it stands: paths, mostly."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    name, given, value = override.partition("=")
    try:
        if not OverridesParser.create().parse_override(override).is_sweep_override():
            return override
    except HydraException:
        pass
    return f"{name}={_written(value)}" if given else override


def _written(value: Any) -> str:
    """Write a value as Hydra reads it: ``null``, ``[1,2]``, ``{a:1}``, plain words bare, other text in quotes."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{name}:{_written(inner)}' for name, inner in value.items())}}}"
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if re.fullmatch(r"(?!(null|true|false|nan|inf)$)[A-Za-z./][\w./-]*", value, re.IGNORECASE | re.ASCII):
        return value
    # In Hydra's quotes a backslash stands for itself, but before a quote.
    escaped = re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + found[2].replace('"', '\\"'), value)
    return f'"{escaped}"'


def _flat(tree: Mapping[str, Any], before: str = "", whole: Collection[str] = ()) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{before}{name}"
        flat |= (
            _flat(value, f"{path}.", whole)
            if value and isinstance(value, dict) and path not in whole
            else {path: value}
        )
    return flat


def write_params(overrides: list[str], path: Path = PARAMS) -> str:
    """Compose ``params.yaml`` and return the profile's name; an invalid composition leaves the file as it was."""
    composed = compose(overrides)
    candidate = path.with_name(f".{path.name}")
    with candidate.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        yaml_reader().dump(composed, file)
    try:
        profile = load(candidate).profile
        say_what_is_replaced(path.parent)
        candidate.replace(path)
    finally:
        candidate.unlink(missing_ok=True)
    return profile
