"""The parameters: their names, types and ranges, and the way from ``params.yaml`` into a stage or a notebook.

A section has the name of its stage. ``params.yaml`` is what the next run uses; it is composed from ``conf/`` by Hydra,
by DVC (``dvc exp run -S profile=smoke``) or by ``python -m vsd_utils.params profile=smoke``.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vsd_utils.errors import VsdError
from vsd_utils.paths import PARAMS, ROOT

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Precision = Literal["float32", "bfloat16"]
Quantization = Literal["none", "8bit", "4bit"]


class Section(BaseModel):
    """What all sections have in common: no unknown name, no silent conversion of a string into a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Splits(Section):
    """A number of images for each split."""

    train: Count
    val: Count
    test: Count


class Fetch(Section):
    """Where the annotations and the photos come from."""

    source: Literal["scenes", "folder"]
    scenes: Splits
    annotations: str | None
    photos: str | None
    own_split: bool
    shares: Splits

    @model_validator(mode="after")
    def _folder_is_named(self) -> "Fetch":
        if self.source == "folder" and not self.annotations:
            raise ValueError("annotations must name a folder when source is 'folder'")
        return self


class Tiny(Section):
    """Size and training of the base model that is made from scratch."""

    tokens: Annotated[int, Field(ge=300)]
    tile: Annotated[int, Field(ge=16)]
    patch: Annotated[int, Field(ge=4)]
    width: Annotated[int, Field(ge=32)]
    layers: Count
    heads: Count
    vision_steps: Count
    vision_batch: Count
    vision_learning_rate: Positive
    language_rows: Count
    language_batch: Count
    language_learning_rate: Positive
    align_rows: Count
    align_batch: Count
    align_learning_rate: Positive


class Base(Section):
    """The vision-language model that is tuned."""

    source: Literal["tiny", "hub", "folder"]
    name: str | None
    revision: str | None
    billions: Positive
    tiny: Tiny

    @model_validator(mode="after")
    def _model_is_named(self) -> "Base":
        return _named(self)


class Refiner(Section):
    """The text-only model that rewrites sentences."""

    source: Literal["package", "hub", "folder"]
    name: str | None
    revision: str | None
    billions: Positive

    @model_validator(mode="after")
    def _model_is_named(self) -> "Refiner":
        return _named(self)


class Convert(Section):
    """From annotations to conversations."""

    system_prompt: Literal["none", "vicuna"]
    draw_boxes: bool
    box_width: Annotated[float, Field(gt=0, le=0.2)]
    canvas_margin: Share
    task2_captions: Natural
    skip_invalid: bool


class Finetune(Section):
    """LoRA fine-tuning."""

    lora_rank: Count
    lora_alpha: Count
    lora_dropout: Share
    learning_rate: Positive
    warmup_share: Share
    scheduler: Literal["cosine", "linear", "constant"]
    weight_decay: Annotated[float, Field(ge=0)]
    epochs: Positive
    max_steps: Annotated[int, Field(ge=-1)]
    batch_size: Count
    accumulation: Count
    precision: Precision
    quantization: Quantization
    checkpointing: bool
    workers: Natural
    evaluations: Count
    val_rows: Count
    save_every: Count


class Describe(Section):
    """Answers of the base model and of the adapter on the test split."""

    batch_size: Count
    precision: Precision
    quantization: Quantization
    max_new_tokens: Annotated[tuple[Count, Count, Count], Field(strict=False)]
    limit: Natural


class Refine(Section):
    """Rewriting of the three sentences."""

    items: Natural
    candidates: Count
    temperature: Positive
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Count
    batch_size: Count
    prompt: Literal["sentence", "set"]
    precision: Precision
    quantization: Quantization


class Evaluate(Section):
    """Scores, intervals and figures."""

    spice: bool
    spice_heap_gib: Annotated[float, Field(ge=1)]
    resamples: Natural
    examples: Count


class Params(Section):
    """The whole of ``params.yaml``."""

    profile: Literal["sample", "smoke", "layout", "paper"]
    seed: Natural
    threads: Count
    fetch: Fetch
    base: Base
    refiner: Refiner
    convert: Convert
    finetune: Finetune
    describe: Describe
    refine: Refine
    evaluate: Evaluate


SHARED = ("profile", "seed", "threads")  # outside the sections; every notebook takes them too


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
    result holds the section's names and the shared ones, all checked; raises ``VsdError`` as ``load`` does.
    """
    current = load(path).model_dump()
    names = [*SHARED, *current[section]]
    missing = [name for name in names if name not in values]
    if missing:
        raise VsdError(
            f"the notebook's parameters cell has no {', '.join(missing)}; params.yaml, section {section}, does"
        )
    chosen = {name: values[name] for name in names if values[name] is not ...}
    merged = current | {name: chosen[name] for name in SHARED if name in chosen}
    merged[section] = current[section] | {name: value for name, value in chosen.items() if name not in SHARED}
    try:
        checked = Params.model_validate(merged).model_dump()
    except ValidationError as error:
        raise VsdError(
            "\n".join(_problem(Path("parameters"), problem) for problem in error.errors(include_url=False))
        ) from None
    return {name: checked[name] for name in SHARED} | checked[section]


def compose(overrides: list[str]) -> dict[str, Any]:
    """What Hydra makes of ``conf/`` and overrides such as ``profile=smoke`` or ``finetune.epochs=2``.

    Raises ``VsdError`` for a profile or a name that is not there. Values are checked by ``Params`` only.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with hydra.initialize_config_dir(str(ROOT / "conf"), version_base=None):
            composed = OmegaConf.to_container(hydra.compose("config", overrides), resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise VsdError(
            f"{' '.join(overrides)}: {error}\nconf/config.yaml lists all names, conf/profile the profiles."
        ) from None
    assert isinstance(composed, dict)
    return {str(key): value for key, value in composed.items()}


def overrides(params: Params) -> list[str]:
    """Where ``params`` differs from its profile in ``conf/``: ``["finetune.epochs=2.0", ...]``, for ``compose``."""
    usual = _flat(Params.model_validate(compose([f"profile={params.profile}"])).model_dump())
    changed = {name: value for name, value in _flat(params.model_dump()).items() if usual[name] != value}
    return [f"{name}={_written(value)}" for name, value in changed.items()]


def _written(value: Any) -> str:
    """As Hydra reads it: ``null``, ``true``, ``[1,2]``, plain words bare."""
    if isinstance(value, str) and re.fullmatch(r"(?!(null|true|false|nan|inf)$)[A-Za-z./][\w./-]*", value, re.I):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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


def _named(section: Any) -> Any:
    if section.source != "tiny" and section.source != "package" and not section.name:
        raise ValueError(f"name must be given when source is {section.source!r}")
    if section.source == "hub" and not (section.revision and len(section.revision) == 40):
        raise ValueError("revision must be a full commit hash of 40 characters when source is 'hub'")
    return section


def _problem(path: Path, problem: Any) -> str:
    name = ".".join(map(str, problem["loc"])) or "the file"
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
    _yaml().dump(composed, candidate)
    try:
        profile = load(candidate).profile
        candidate.replace(PARAMS)
    finally:
        candidate.unlink(missing_ok=True)
    print(f"params.yaml: profile {profile}" + "".join(f", {override}" for override in overrides))


if __name__ == "__main__":
    try:
        main()
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
