"""What a study is: a question, variants of one run as overrides, the seeds of each, and the scores to compare.

``studies/<name>.yaml``:

    question: Does a larger rank name more relations?
    profile: mini
    last_stage: describe              # or refine: which stage's sentences are scored
    seed: finetune.seed               # the parameter that the seeds are given to; all else is the same
    seeds: [0, 1, 2]
    overrides: [finetune.num_train_epochs=0.5]      # of all variants
    variants:                         # overrides, and whose answers: lora, unless it says base, lora_refined, ...
      rank 32: {}
      rank 4: {overrides: [finetune.r=4, finetune.lora_alpha=8]}
      no tuning: {system: base}
    reference: rank 32                # that the others are tested against
    scores: [task1.accuracy, task2.spice]           # of SCORES, below
    follows: A sentence on what follows, once there are numbers.
    does_not_follow: And on what does not.

A file with ``factors`` in place of seeds, variants, reference and scores is a multiverse (``multiverse.py``).
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml.error import YAMLError

from vsd_utils.common.errors import VsdError, listed
from vsd_utils.common.params import yaml_reader
from vsd_utils.common.paths import STUDIES
from vsd_utils.common.profiles import compose, readable
from vsd_utils.common.sections import Params
from vsd_utils.studies.multiverse import Multiverse
from vsd_utils.studies.question import REFINED, Line, Question, Variant, check_scores

FEWEST_SEEDS = 3
_NAME = re.compile(r"(?!.*_(cost|differences|runs)$|subsets|vrd|rewrites|shortcuts)[a-z][a-z0-9_]*")
_DIGITS = 12
_Seed = Annotated[int, Field(ge=0)]


class Study(Question):
    """Hold a study's file; see the top."""

    seeds: Annotated[tuple[_Seed, ...], Field(min_length=FEWEST_SEEDS)]
    variants: Annotated[dict[Line, Variant], Field(min_length=2)]
    reference: str
    scores: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_are_known(self) -> "Study":
        if self.reference not in self.variants:
            raise ValueError(f"reference {self.reference!r} is none of the variants {', '.join(self.variants)}")
        check_scores(self.scores)
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)}: one of them is given twice")
        refined = [name for name, one in self.variants.items() if one.system in REFINED]
        if refined and self.last_stage != "refine":
            raise ValueError(f"variant {refined[0]!r} is of refined sentences: its last_stage is refine")
        return self

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """List the seeds of a variant's runs: of every variant the same."""
        return self.seeds


class Run(NamedTuple):
    """One run of a study: its variant, its seed, and all overrides of ``conf/`` that make its parameters.

    Variants that differ in the system alone have runs with the same ``digest``, which are made once.
    """

    study: str
    variant: str
    seed: int
    overrides: tuple[str, ...]
    last_stage: str
    system: str
    digest: str
    seeded_stage: str  # the first that depends on the seed

    @property
    def experiment(self) -> str:
        """Name DVC's experiment after study, variant and seed."""
        words = "".join(character if character.isalnum() else "-" for character in self.variant.lower())
        return "-".join(part for part in f"{self.study}-{words}-{self.seed}-{self.digest[:4]}".split("-") if part)


def read_study(name: str, folder: Path = STUDIES, profile: str | None = None) -> Study | Multiverse:
    """Read ``<folder>/<name>.yaml``; raises ``VsdError`` saying what of it cannot be used.

    With ``profile`` in place of its own it is another study, ``<name>_<profile>``.
    """
    path = folder / f"{name}.yaml"
    if not _NAME.fullmatch(name):
        raise VsdError(
            f"{path}: a study's name is small letters, digits and _, for its tables and experiments are named after "
            "it; not subsets..., vrd..., rewrites..., shortcuts..., ..._cost, ..._differences, ..._runs, as others are"
        )
    try:
        content = yaml_reader().load(path)
    except FileNotFoundError:
        raise VsdError(f"{path}: no such file. There are: {', '.join(study_names(folder)) or 'none'}") from None
    except YAMLError as error:
        raise VsdError(f"{path}: not YAML ({error})") from None
    if not isinstance(content, dict):
        raise VsdError(f"{path}: expected a study's fields (question, variants, ...), found {type(content).__name__}")
    try:
        if "name" in content:
            raise VsdError(f"{path}: name: is not taken, a study is named by its file")
        changes = {"profile": profile, "name": f"{name}_{profile}"} if profile else {"name": name}
        kind = Multiverse if "factors" in content else Study
        return kind.model_validate(content | changes)
    except ValidationError as error:
        problems = [
            f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}".replace(": :", ":")
            for one in error.errors(include_url=False)
        ]
        raise VsdError("\n".join(problems)) from None


def study_names(folder: Path = STUDIES) -> list[str]:
    """List the studies by name."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def runs_of(study: Study | Multiverse) -> list[Run]:
    """Make the runs of a study, variant by variant and seed by seed.

    Raises ``VsdError`` for two variants that are the same, for variants that answer about different images, and for
    overrides that no parameter has.
    """
    runs, asked = [], {}
    for name, variant in study.variants.items():
        for seed in study.seeds_of(name):
            written = (f"profile={study.profile}", *study.overrides, *variant.overrides, f"{study.seed}={seed}")
            overrides = tuple(map(readable, written))
            params = _params(study, name, overrides)
            asked[name] = _test_images(params)
            digest = _digest(study.last_stage, params)
            last, seeded = study.last_stage, study.seed.split(".")[0]
            runs.append(Run(study.name, name, seed, overrides, last, variant.system, digest, seeded))
    if other := [name for name in asked if asked[name] != asked[study.reference]]:
        raise VsdError(
            f"study {study.name}: variant {other[0]!r} answers about other images than {study.reference!r}: seed, "
            "describe.limit, refine.items and section fetch have to be the same in all variants"
        )
    if isinstance(study, Multiverse):
        _refuse_idle_factors(study)
    alike: dict[tuple[str, str], list[str]] = {}
    for run in runs:
        alike.setdefault((run.digest, run.system), []).append(f"{run.variant}, seed {run.seed}")
    if same := [names for names in alike.values() if len(names) > 1]:
        raise VsdError(f"study {study.name}: these runs are the same:\n{listed(same[0])}\nLeave one out.")
    return runs


def _refuse_idle_factors(study: Multiverse) -> None:
    """Raise ``VsdError`` where a factor changes nothing that the runs' stages see."""
    for factor, (first, second) in ((name, levels.values()) for name, levels in study.factors.items()):
        seen = [
            _digest(
                study.last_stage,
                _params(study, factor, tuple(map(readable, (f"profile={study.profile}", *study.overrides, *level)))),
            )
            for level in (first, second)
        ]
        if seen[0] == seen[1]:
            raise VsdError(f"study {study.name}: factor {factor!r} changes nothing up to stage {study.last_stage}")


def _params(study: Study | Multiverse, variant: str, overrides: tuple[str, ...]) -> Params:
    try:
        params = Params.model_validate(compose(list(overrides)))
    except VsdError as error:
        raise VsdError(f"study {study.name}, variant {variant!r}: {error}") from None
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise VsdError(f"study {study.name}, variant {variant!r}: {said}") from None
    if study.seed == "refine.seed" and params.refine.items:
        raise VsdError(
            f"study {study.name}: refine.seed also draws refine.items={params.refine.items} images; take 0, all"
        )
    return params


def _test_images(params: Params) -> list[Any]:
    """List what decides which images are asked about, and what the learned relation checker is trained on."""
    return [params.seed, params.describe.limit, params.refine.items, params.fetch.model_dump()]


def _digest(last_stage: str, params: Params) -> str:
    """Digest the last stage and all parameters that stages up to it can see, in any order.

    Without those that are null, so that a parameter that is new, and null, makes no run another one; and without how
    files are fetched.
    """
    content = params.model_dump(mode="json")
    unseen = ("evaluate",) if last_stage == "refine" else ("evaluate", "refine", "refiner")
    seen = {name: value for name, value in content.items() if name not in unseen}
    seen["fetch"] = {name: value for name, value in seen["fetch"].items() if name not in ("transfer", "download")}
    return hashlib.sha256(json.dumps([last_stage, _without_nulls(seen)], sort_keys=True).encode()).hexdigest()[:_DIGITS]


def _without_nulls(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: _without_nulls(value) for name, value in tree.items() if value is not None}
    return tree
