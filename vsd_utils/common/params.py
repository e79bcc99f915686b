"""The parameters: the way from ``params.yaml`` into a stage or a notebook.

Their types and ranges stand in ``sections.py``, their values and what they mean in ``conf/config.yaml``; how the file
is composed from there, in ``profiles.py``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vsd_utils.common.errors import VsdError
from vsd_utils.common.parameter_problems import problem_line
from vsd_utils.common.paths import PARAMS
from vsd_utils.common.sections import Params
from vsd_utils.common.values import FURTHER

# Outside the sections; a notebook takes those that it uses. A section may have one of its own, null for the shared one.
SHARED = ("profile", "seed", "threads", "float32_matmul_precision", "processes")


def load(path: Path = PARAMS) -> Params:
    """Read and check ``params.yaml``; raises ``VsdError`` naming every unknown, missing or wrong parameter."""
    try:
        content = yaml_reader().load(path)
    except FileNotFoundError:
        raise VsdError(f"{path}: no such file. Make it with: vsd profile mini") from None
    except YAMLError as error:
        raise VsdError(f"{path}: not YAML ({error})") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise VsdError("\n".join(problem_line(path, problem) for problem in error.errors(include_url=False))) from None


def given(section: str, values: Mapping[str, Any], path: Path = PARAMS) -> dict[str, Any]:
    """Return a notebook's parameters: what the pipeline gave it, and for a reader by hand what ``params.yaml`` says.

    ``values`` are the notebook's variables; one that is still ``...`` was not given and is taken from the file. The
    result holds the section's names, its further fields and those shared names that the notebook takes, all checked;
    raises ``VsdError`` as ``load`` does.
    """
    # 1. What the file says, under the names of the notebook's variables.
    current = load(path)
    shared = [name for name in SHARED if name in values]
    in_section: dict[str, Any] = getattr(current, section).variables()
    own = {name: value for name, value in in_section.items() if name in SHARED}
    usual = {name: value for name, value in in_section.items() if name not in SHARED}
    names = [*shared, *usual]
    missing = [name for name in names if name not in values]
    if missing:
        raise VsdError(
            f"the notebook's parameters cell has no {', '.join(missing)}; params.yaml, section {section}, does"
        )
    # 2. What the notebook gives instead.
    chosen = {name: values[name] for name in names if values[name] is not ...}
    merged = usual | {name: value for name, value in chosen.items() if name not in SHARED}
    further = merged.pop(FURTHER, {})
    if not isinstance(further, Mapping) or further.keys() & merged.keys():
        raise VsdError(
            f"{FURTHER} = {further!r}: expected a dict of fields that have no line of their own in the parameters cell"
        )
    # 3. Both together, by the schema.
    content = current.model_dump() | {name: chosen[name] for name in shared if name in chosen}
    content[section] = {**own, **merged, **further}
    try:
        checked = Params.model_validate(content).model_dump()
    except ValidationError as error:
        raise VsdError(
            "\n".join(problem_line(Path("parameters"), problem) for problem in error.errors(include_url=False))
        ) from None
    of_section = {name: value for name, value in checked[section].items() if name not in SHARED}
    ours = {name: value for name, value in own.items() if value is not None and name not in chosen}
    return {name: ours.get(name, checked[name]) for name in shared} | of_section


def yaml_reader() -> YAML:
    """Read and write YAML as DVC does."""
    # DVC's grammar, YAML 1.2, in which 2e-4 is a number; PyYAML's is 1.1, where it is a string.
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml
