"""How a model is trained, as the two objects that TRL and PEFT take: SFTConfig and LoraConfig.

What TRL's defaults would do to this model without a word: cut image tokens at 1,024 (``max_length``), compute in
bfloat16, recompute activations. The loss is on the answer and its end token only, because rows are prompt/completion.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from peft import LoraConfig
from peft.utils.constants import DUMMY_TARGET_MODULES
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import nn
from trl import SFTConfig

from vsd_utils.common.errors import VsdError
from vsd_utils.models.loading import device

# Every linear map of the language model and nothing else: "all-linear" would take the vision tower's and the
# projector's too, which the paper keeps frozen.
LORA_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
SHARED_IMAGE = "shared_image"  # value of the parameter packing: each picture once for all its conversations
# TRL's own packing, a boolean, is for text alone.
TRAINING_FIELDS = frozenset(field.name for field in fields(SFTConfig)) - {"packing"}
LORA_FIELDS = frozenset(field.name for field in fields(LoraConfig))


class Recipe(NamedTuple):
    """How the finetune stage trains, where it puts LoRA weights, and what its loss is a mean of (``loss.py``).

    Without a rank (``full``) the weights themselves are trained, of the maps that LoRA would be put on: what PEFT is
    given is ``peft_config``, and not ``lora``.
    """

    training: SFTConfig
    lora: LoraConfig
    loss_reduction: str
    full: bool

    def peft_config(self, model: nn.Module) -> LoraConfig:
        """Say what PEFT adds to this model."""
        return whole_maps(self.lora, model) if self.full else self.lora


def finetune_recipe(values: Mapping[str, Any], folder: Path) -> Recipe:
    """Build the finetune stage's recipe from its parameters, each going whole to the class that has its name.

    ``folder`` takes the checkpoints. Raises ``VsdError`` naming a value that its class does not take.
    """
    training = {name: value for name, value in values.items() if name in TRAINING_FIELDS}
    lora = {name: value for name, value in values.items() if name in LORA_FIELDS}
    if values["packing"] == SHARED_IMAGE:  # a row is a whole micro-batch, so many conversations in it
        training |= {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1}
    config = training_config(folder, eval_strategy="steps", save_strategy="steps", **training)
    if values["loss_reduction"] == "sample" and (config.label_smoothing_factor or config.loss_type != "nll"):
        raise VsdError(
            f"finetune.loss_reduction=sample weighs the plain loss, and cannot be had with label_smoothing_factor="
            f"{config.label_smoothing_factor} and loss_type={config.loss_type!r}. Leave these out, or set it to token"
        )
    full = values["r"] is None
    if full:
        _refuse_lora_fields(values)
        lora.pop("r")
    return Recipe(config, lora_config(**lora), values["loss_reduction"], full)


def _refuse_lora_fields(values: Mapping[str, Any]) -> None:
    if found := sorted(LORA_FIELDS & values.keys() - {"r", "lora_alpha", "lora_dropout"}):
        raise VsdError(
            f"finetune.r=null trains the weights themselves, so LoRA's finetune.{found[0]}={values[found[0]]!r} cannot "
            "be had with it. Leave that out, or give a rank"
        )


def whole_maps(lora: LoraConfig, model: nn.Module) -> LoraConfig:
    """Ask PEFT for trained copies of the maps that ``lora`` would be put on, and for no LoRA: full fine-tuning.

    PEFT calls them modules to save: what is kept, loaded and taken off again is so in the same way as LoRA's weights.
    """
    names = [name for name, _ in model.named_modules() if re.fullmatch(LORA_TARGETS, name)]
    return replace(lora, target_modules=DUMMY_TARGET_MODULES, modules_to_save=names)


def training_config(folder: Path, *, seed: int, **values: Any) -> SFTConfig:
    """Build TRL's configuration of a training: ``values`` are its fields, over what holds for every training here.

    ``folder`` takes the checkpoints, of which two are kept. Raises ``VsdError`` naming a value that SFTConfig does not
    take.
    """
    kind = device().split(":")[0]
    common = {
        "max_length": None,
        "completion_only_loss": True,
        "remove_unused_columns": False,
        "use_cpu": kind == "cpu",
        "dataloader_pin_memory": kind == "cuda",
        "save_total_limit": 2,
        "logging_steps": 10,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,  # it would write 0 for a loss that is not a number
        "report_to": "none",
        "disable_tqdm": True,
        "data_seed": seed,
    }
    return _built(SFTConfig, {**common, "output_dir": str(folder), "seed": seed, **values})


def lora_config(**values: Any) -> LoraConfig:
    """Build PEFT's configuration of LoRA on ``LORA_TARGETS``: ``values`` are its fields.

    Raises ``VsdError`` naming a value that LoraConfig does not take.
    """
    return _built(LoraConfig, {"target_modules": LORA_TARGETS, "task_type": "CAUSAL_LM", **values})


def _built(kind: type, values: dict[str, Any]) -> Any:
    # 1. The types, which the two classes note down and do not check.
    types = get_type_hints(kind)
    for name, value in values.items():
        expected: TypeAdapter[Any] = TypeAdapter(types[name], config=ConfigDict(arbitrary_types_allowed=True))
        try:
            expected.validate_python(value, strict=True)
        except ValidationError as error:
            said = "; ".join(problem["msg"] for problem in error.errors(include_url=False))
            raise VsdError(f"parameter finetune.{name} = {value!r}: {kind.__name__} does not take it: {said}") from None
    # 2. What they check themselves, each in its own way.
    try:
        return kind(**values)
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise VsdError(f"section finetune: {kind.__name__} does not take its values: {said}") from None
