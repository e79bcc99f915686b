"""A multiverse: guesses that nobody can look up, varied together, to see which of them a conclusion hangs on.

``studies/<name>.yaml`` has, beside what every study says (``question.py``):

    factors:                          # two to eight, each with two levels and their overrides
      rank: {r 8: [finetune.r=8, finetune.lora_alpha=16], r 32: [finetune.r=32, finetune.lora_alpha=64]}
    outcomes:                         # a system's score, or by how much it is above another's: a conclusion
      accuracy: {of: lora, score: task1.accuracy}
      tuned above base: {of: lora, above: base, score: task1.accuracy}

Sixteen runs are made, a fractional factorial of resolution IV (Box, Hunter and Hunter, Statistics for Experimenters),
of four factors or fewer a full one: every level of a factor meets every level of each other one equally often, and what
a factor does by itself is mixed up with no pair of others, only with threes. Pairs are mixed up with each other. Each
run has a seed of its own, so that seeds are a part of all that is seen. The idea: Steegen et al. 2016.
"""

from typing import Annotated, ClassVar, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vsd_utils.metrics.measure import Array
from vsd_utils.studies.question import REFINED, Line, Question, System, Variant, check_scores

RUNS: Final = 16
# Columns of the full factorial of four that each factor's levels follow: 0 to 3, and products of three of them.
_COLUMNS: Final = ((0,), (1,), (2,), (3,), (0, 1, 2), (1, 2, 3), (0, 2, 3), (0, 1, 3))
_PAIRS: Final = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), (0, 1, 2, 3))


_TAKEN: Final = {"run", "seed", "from, to"}  # columns


class Outcome(BaseModel):
    """Name a system's score; with ``above`` how much it is above another's: a conclusion, if positive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    of: System
    above: System | None = None
    score: str


_Levels = Annotated[dict[Line, tuple[str, ...]], Field(min_length=2, max_length=2)]


class Multiverse(Question):
    """Hold a multiverse's file; see the top."""

    factors: Annotated[dict[Line, _Levels], Field(min_length=2, max_length=len(_COLUMNS))]
    outcomes: Annotated[dict[Line, Outcome], Field(min_length=1)]

    reference: ClassVar[str] = "run 1"

    @model_validator(mode="after")
    def _outcomes_are_known(self) -> "Multiverse":
        check_scores(tuple(one.score for one in self.outcomes.values()))
        if twice := self.factors.keys() & self.outcomes.keys() | (self.factors.keys() | self.outcomes.keys()) & _TAKEN:
            raise ValueError(
                f"{min(twice)!r} names a column of the tables already; call the factor or outcome otherwise"
            )
        for name, one in self.outcomes.items():
            if one.of == one.above:
                raise ValueError(f"outcome {name!r} is {one.of} above itself")
            if self.last_stage != "refine" and {one.of, one.above} & set(REFINED):
                raise ValueError(f"outcome {name!r} is of refined sentences: its last_stage is refine")
        return self

    @model_validator(mode="after")
    def _factors_are_apart(self) -> "Multiverse":
        of: dict[str, str] = {self.seed: "the seed"}
        for factor, levels in self.factors.items():
            if len(set(levels.values())) < len(levels):
                raise ValueError(f"factor {factor!r}: both levels are the same")
            for parameter in {_parameter(override) for its in levels.values() for override in its}:
                if parameter in of:
                    raise ValueError(f"factor {factor!r} sets {parameter}, which is of {of[parameter]} already")
                of[parameter] = repr(factor)
        return self

    @property
    def variants(self) -> dict[str, Variant]:
        """List the sixteen runs as variants, by their number from 1."""
        return {
            f"run {number}": Variant(
                overrides=tuple(
                    override for factor, level in levels.items() for override in self.factors[factor][level]
                )
            )
            for number, levels in enumerate(self.levels(), 1)
        }

    def levels(self) -> list[dict[str, str]]:
        """Give each run's level of every factor, run by run."""
        signs = design()[:, : len(self.factors)]
        return [
            {
                factor: list(levels)[int(sign > 0)]
                for (factor, levels), sign in zip(self.factors.items(), row, strict=True)
            }
            for row in signs
        ]

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Give a run's seed: its number from 0."""
        return (list(self.variants).index(variant),)


def _parameter(override: str) -> str:
    return override.split("=")[0].lstrip("+~")


def design() -> Array:
    """Give the contrasts of sixteen runs: (16, 15) of -1 and 1, orthogonal; the first eight are for factors.

    The other seven are pairs of the first four and all four together, with what is mixed up with them.
    """
    full = np.array([[1 if run >> bit & 1 else -1 for bit in range(4)] for run in range(RUNS)])
    return np.column_stack([full[:, list(columns)].prod(axis=1) for columns in (*_COLUMNS, *_PAIRS)])
