"""The schema of ``params.yaml``: a class for each section, with the type and the range of every parameter.

A section has the name of its stage. What each parameter means stands beside its value in ``conf/config.yaml``. Section
finetune takes further fields of TRL's SFTConfig and PEFT's LoraConfig (``further_fields.py``).
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from vsd_utils.common.further_fields import check_field

FURTHER = "further_fields"  # a notebook's one variable for all fields of its section that the schema does not name

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Dtype = Literal["float32", "bfloat16"]
Quantization = Literal["none", "8bit", "4bit"]


# Those of transformers that need no score to go by.
Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "warmup_stable_decay",
]


def _whole_or_share(steps: float) -> float:
    if steps < 1:
        return steps
    if not steps.is_integer():
        raise ValueError("a number of steps is whole; below 1 it is a share of all steps")
    return int(steps)


def _further_field(name: str) -> str:
    try:
        return check_field(name)
    except ValueError as error:
        raise PydanticCustomError("further_field", "{said}", {"said": str(error)}) from None


Steps = Annotated[float, Field(gt=0), AfterValidator(_whole_or_share)]


class Section(BaseModel):
    """What all sections have in common: no unknown name, no silent conversion of a string into a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def variables(self) -> dict[str, Any]:
        """Return the values as a notebook's variables: one for each name of the schema, one for all further fields."""
        values = self.model_dump()
        if self.model_extra is None:  # the section takes none
            return values
        return {name: values[name] for name in type(self).model_fields} | {FURTHER: dict(self.model_extra)}


class Splits(Section):
    """A number of images for each split."""

    train: Count
    val: Count
    test: Count


class Fetch(Section):
    """Where the annotations and the photos come from."""

    source: Literal["scenes", "folder"]
    scenes: Splits | None
    annotations: str | None
    photos: str | None
    own_split: bool
    shares: Splits
    skip_invalid: bool

    @model_validator(mode="after")
    def _folder_is_named(self) -> "Fetch":
        if self.source == "folder" and not self.annotations:
            raise ValueError("annotations must name a folder when source is 'folder'")
        if self.source == "scenes" and self.scenes is None:
            raise ValueError("scenes must give a number of images for train, val and test when source is 'scenes'")
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
    tiny: Tiny | None

    @model_validator(mode="after")
    def _model_is_named(self) -> "Base":
        if self.source == "tiny" and self.tiny is None:
            raise ValueError("tiny must give the model's size and training when source is 'tiny'; profile mini does")
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


class Finetune(Section):
    """LoRA fine-tuning: fields of LoraConfig and SFTConfig, by their names there, and how the model is loaded.

    Any further field of the two classes can be given, but those that the stage sets itself.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_further_field)], JsonValue]

    r: Count
    lora_alpha: Count
    lora_dropout: Share
    learning_rate: Positive
    num_train_epochs: Positive
    max_steps: Annotated[int, Field(ge=-1)]
    per_device_train_batch_size: Count
    per_device_eval_batch_size: Count
    gradient_accumulation_steps: Count
    warmup_steps: Annotated[float, Field(ge=0), AfterValidator(_whole_or_share)]
    lr_scheduler_type: Scheduler
    weight_decay: Annotated[float, Field(ge=0)]
    bf16: bool
    accelerate_config: str
    activation_checkpointing: bool
    dataloader_num_workers: Natural
    eval_steps: Steps
    save_steps: Steps
    val_rows: Count
    dtype: Dtype
    quantization: Quantization


class Describe(Section):
    """Answers of the base model and of the adapter on the test split."""

    batch_size: Count
    dtype: Dtype
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
    dtype: Dtype
    quantization: Quantization


class Evaluate(Section):
    """Scores, intervals and figures."""

    spice: bool
    spice_heap_gib: Annotated[float, Field(ge=1)]
    resamples: Natural
    examples: Count


class Params(Section):
    """The whole of ``params.yaml``."""

    profile: Literal["mini", "boxes", "paper", "smoke"]
    seed: Natural
    threads: Count | None
    processes: Count
    fetch: Fetch
    base: Base
    refiner: Refiner
    convert: Convert
    finetune: Finetune
    describe: Describe
    refine: Refine
    evaluate: Evaluate


def _named(section: Any) -> Any:
    if section.source != "tiny" and section.source != "package" and not section.name:
        raise ValueError(f"name must be given when source is {section.source!r}")
    if section.source == "hub" and not (section.revision and len(section.revision) == 40):
        raise ValueError("revision must be a full commit hash of 40 characters when source is 'hub'")
    return section
