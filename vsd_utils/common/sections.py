"""The schema of ``params.yaml``: a class for each section, with the type and the range of every parameter.

A section has the name of its stage. What each parameter means stands beside its value in ``conf/config.yaml``. Section
finetune takes further fields of TRL's SFTConfig and PEFT's LoraConfig (``further_fields.py``).
"""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, model_validator

from vsd_utils.common.values import (
    Address,
    Count,
    Dtype,
    FurtherField,
    MatmulPrecision,
    Natural,
    Positive,
    Quantization,
    Scheduler,
    Section,
    Share,
    Steps,
    StepsOrNone,
    Variable,
)


class Splits(Section):
    """A number of images for each split."""

    train: Count
    val: Count
    test: Count


class Scenes(Splits):
    """Numbers of rendered scenes of each split, and their width in pixels; they are three quarters as high."""

    width: Annotated[int, Field(ge=64, multiple_of=4)]


class Transfer(Section):
    """How files are fetched from other machines."""

    at_once: Annotated[int, Field(ge=1, le=64)]
    attempts: Count
    wait: Annotated[float, Field(ge=0)]
    longest_wait: Annotated[float, Field(ge=0)]
    timeout: Positive
    give_up_after: Count


class Fetch(Section):
    """Where the annotations and the photos come from."""

    source: Literal["scenes", "folder", "folder_or_scenes"]
    scenes: Scenes | None
    annotations: str | None
    photos: str | None
    download: bool
    sources: str | None
    transfer: Transfer
    own_split: Literal["never", "if_needed", "always"]
    shares: Splits
    images: Splits | None
    skip_invalid: bool

    @model_validator(mode="after")
    def _folder_is_named(self) -> "Fetch":
        if self.source != "scenes" and not self.annotations:
            raise ValueError(f"annotations must name a folder when source is {self.source!r}")
        if self.source != "folder" and self.scenes is None:
            raise ValueError(f"scenes must give a number of images for each split when source is {self.source!r}")
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


class Small(Section):
    """Size and training of the base model that is put together from pretrained parts."""

    tile: Annotated[int, Field(ge=28, multiple_of=14)]
    views: Count
    vision_steps: Count
    vision_batch: Count
    vision_learning_rate: Positive


class Shrunk(Section):
    """Sizes of a stand-in with random weights; all else is that of the model whose place it takes."""

    width: Annotated[int, Field(ge=32)]
    layers: Annotated[int, Field(ge=2)]
    heads: Count
    tokens: Annotated[int, Field(ge=300)]


class Base(Section):
    """The vision-language model that is tuned."""

    source: Literal["tiny", "small", "random", "hub", "folder"]
    name: str | None
    revision: str | None
    billions: Positive
    tiny: Tiny | None
    small: Small | None
    shrunk: Shrunk | None

    @model_validator(mode="after")
    def _model_is_named(self) -> "Base":
        if self.source == "tiny" and self.tiny is None:
            raise ValueError("tiny must give the model's size and training when source is 'tiny'; profile mini does")
        if self.source == "small" and self.small is None:
            raise ValueError("small must give the model's training when source is 'small'; profile boxes does")
        return _named(self)


class Refiner(Section):
    """The text-only model that rewrites sentences."""

    source: Literal["package", "random", "hub", "folder"]
    name: str | None
    revision: str | None
    billions: Positive
    shrunk: Shrunk | None

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
    task3_captions: Literal["v1"] | None


class Finetune(Section):
    """Fine-tuning with LoRA, or without a rank of whole maps, and how the model is loaded.

    Its fields are LoraConfig's and SFTConfig's, by their names there.

    Any further field of the two classes can be given, but those that the stage sets itself.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[FurtherField, JsonValue]

    seed: Natural | None
    r: Count | None
    lora_alpha: Count
    lora_dropout: Share
    learning_rate: Positive
    num_train_epochs: Positive
    max_steps: Annotated[int, Field(ge=-1)]
    per_device_train_batch_size: Count
    per_device_eval_batch_size: Count
    gradient_accumulation_steps: Count
    warmup_steps: StepsOrNone
    lr_scheduler_type: Scheduler
    weight_decay: Annotated[float, Field(ge=0)]
    bf16: bool
    accelerate_config: str
    packing: Literal["none", "shared_image"]
    loss_reduction: Literal["token", "sample"]
    activation_checkpointing: bool
    dataloader_num_workers: Natural
    eval_steps: Steps
    save_steps: Steps
    val_rows: Count
    val_answers: Count | None
    dtype: Dtype
    quantization: Quantization


class Endpoint(Section):
    """An OpenAI-compatible server that answers, and what it may be asked how fast; the key itself stands nowhere."""

    base_url: Address
    model: Annotated[str, Field(min_length=1)]
    api_key_variable: Variable | None
    requests_at_once: Count
    requests_per_minute: Positive | None
    dollars_per_million_input_tokens: Annotated[float, Field(ge=0)] | None
    dollars_per_million_output_tokens: Annotated[float, Field(ge=0)] | None
    request_fields: dict[str, JsonValue]

    @model_validator(mode="after")
    def _fields_are_free(self) -> "Endpoint":
        if taken := sorted(self.request_fields.keys() & {"model", "messages", "n", "stream"}):
            raise ValueError(f"request_fields has {', '.join(taken)}, which the client sets itself; take it out")
        return self


class Describe(Section):
    """Answers of the base model, of the adapter and, where ``endpoint`` names one, of a server on the test split."""

    batch_size: Count
    dtype: Dtype
    quantization: Quantization
    max_new_tokens: Annotated[tuple[Count, Count, Count], Field(strict=False)]
    no_repeat_ngram_size: Count | None
    task1: Literal["generate", "likelihood"]
    limit: Natural
    endpoint: Endpoint | None


class Refine(Section):
    """Rewriting of the three sentences."""

    seed: Natural | None
    items: Natural
    candidates: Count
    temperature: Positive
    top_p: Annotated[float, Field(gt=0, le=1)]
    max_new_tokens: Count
    batch_size: Count
    prompt: Literal["sentence", "set", "grammar"]
    ask_hopeless: bool
    accept_any: bool
    dtype: Dtype
    quantization: Quantization
    endpoint: Endpoint | None


class Evaluate(Section):
    """Scores, intervals and figures."""

    spice: bool
    spice_heap_gib: Annotated[float, Field(ge=1)]
    resamples: Natural
    examples: Count


class Params(Section):
    """The whole of ``params.yaml``."""

    profile: Literal["mini", "boxes", "rehearsal", "paper", "paper_24gb", "smoke"]
    seed: Natural
    threads: Count | None
    float32_matmul_precision: MatmulPrecision | None
    processes: Count
    fetch: Fetch
    base: Base
    refiner: Refiner
    convert: Convert
    finetune: Finetune
    describe: Describe
    refine: Refine
    evaluate: Evaluate

    @model_validator(mode="after")
    def _whole_weights_are_had(self) -> "Params":
        wanted = {
            "finetune": {"quantization": "none", "dtype": "float32", "accelerate_config": "ddp"},
            "describe": {"quantization": "none"},
        }
        found = [
            f"{section}.{name}={value}, not {getattr(getattr(self, section), name)}"
            for section, values in wanted.items()
            for name, value in values.items()
            if getattr(getattr(self, section), name) != value
        ]
        if self.finetune.r is None and found:
            raise ValueError(
                f"finetune.r=null trains the weights themselves, for which they have to be whole in each process, in "
                f"float32: set {'; '.join(found)}. Or give a rank"
            )
        return self

    @property
    def finetune_seed(self) -> int:
        """Give the seed of the fine-tuning: its own, else the one outside the sections."""
        return self.seed if self.finetune.seed is None else self.finetune.seed


def _named(section: Any) -> Any:
    if section.source not in ("tiny", "small", "package") and not section.name:
        raise ValueError(f"name must be given when source is {section.source!r}")
    if section.source == "random" and section.shrunk is None:
        raise ValueError("shrunk must give the stand-in's sizes when source is 'random'; profile rehearsal does")
    # None where it is for the user to fill in; the pre-flight asks for it.
    if section.source == "hub" and section.revision is not None and len(section.revision) != 40:
        raise ValueError("revision must be a full commit hash of 40 characters when source is 'hub'")
    return section
