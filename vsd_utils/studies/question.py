"""What all kinds of studies say: a question, the profile and the overrides of its runs, and what follows from them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from vsd_utils.common.profiles import PROFILES

# The scores that a run's file keeps, and that a study can compare.
SCORES = (
    *("task1.accuracy", "task1.f1_macro"),
    *("task2.bleu4", "task2.spice", "task2.relation_in_sentence", "task2.relation_learned"),
    *("task3.mbleu4_by_rank", "task3.mbleu4_by_sentence"),
    *("task3.spice", "task3.relation_in_sentence", "task3.relation_learned"),
)
System = Literal["base", "lora", "lora_blank_image", "lora_given_to_refiner", "lora_refined"]
REFINED: tuple[System, ...] = ("lora_given_to_refiner", "lora_refined")


def _one_line(text: str) -> str:
    if "|" in text or "\n" in text.strip():
        raise ValueError("must be one line without |, for it stands in a table")
    return text.strip()


Line = Annotated[str, AfterValidator(_one_line)]


class Variant(BaseModel):
    """Hold what a variant changes, and which system's answers of its runs are compared."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    overrides: tuple[str, ...] = ()
    system: System = "lora"


class Question(BaseModel):
    """Hold the fields that every study's file has; ``name`` is the file's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    question: Annotated[Line, Field(min_length=1)]
    profile: str
    last_stage: Literal["describe", "refine"]
    seed: Literal["finetune.seed", "refine.seed"]
    overrides: tuple[str, ...]
    follows: Line
    does_not_follow: Line

    @model_validator(mode="after")
    def _profile_is_known(self) -> "Question":
        if self.profile not in PROFILES:
            raise ValueError(f"profile {self.profile!r} is none of {', '.join(PROFILES)}")
        return self


def check_scores(scores: tuple[str, ...]) -> None:
    """Raise ``ValueError`` naming a score that no run's file keeps."""
    if unknown := [score for score in scores if score not in SCORES]:
        raise ValueError(f"scores: {unknown[0]!r} is not known; known are {', '.join(SCORES)}")
