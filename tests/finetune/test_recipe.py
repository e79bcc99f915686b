"""The recipe: each parameter of section finetune reaches the library whose field it is, or stops by its name."""

from dataclasses import fields
from typing import get_args

import pytest
from peft import LoraConfig
from transformers import SchedulerType
from trl import SFTConfig

from vsd_utils.common.errors import VsdError
from vsd_utils.common.further_fields import REFUSED, library_fields
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Finetune, Params
from vsd_utils.common.values import Scheduler
from vsd_utils.finetune.recipe import LORA_FIELDS, LORA_TARGETS, TRAINING_FIELDS, finetune_recipe

OURS = {"val_rows", "val_answers", "accelerate_config", "dtype", "quantization", "loss_reduction"}
BATCH_SIZES = {"per_device_train_batch_size", "per_device_eval_batch_size"}


def test_the_fields_read_from_source_are_those_of_the_two_classes() -> None:
    training, lora = ({field.name for field in fields(kind)} for kind in (SFTConfig, LoraConfig))
    assert library_fields() == training | lora
    assert training & lora == set()  # or a value would go to both
    assert {*REFUSED} <= library_fields()
    assert {*Finetune.model_fields} - library_fields() == OURS
    assert {*Finetune.model_fields} & {*REFUSED} == set()
    assert {*get_args(Scheduler)} <= {kind.value for kind in SchedulerType}


@pytest.mark.parametrize("profile", ["mini", "paper"])
def test_every_value_arrives_under_its_own_name(tmp_path, profile) -> None:
    further = {
        "max_grad_norm": 0.5,
        "optim": "adafactor",
        "logging_steps": 3,
        "use_dora": True,
        "rank_pattern": {"x": 4},
    }
    content = compose([f"profile={profile}"])
    content["finetune"] |= further
    values = Params.model_validate(content).finetune.model_dump()
    recipe = finetune_recipe({"threads": 1, **values, "seed": 7}, tmp_path)
    for name, value in values.items():
        if name in OURS | {"packing", "seed"}:  # TRL's packing is for text alone, and stays off
            continue
        parts = ((recipe.training, TRAINING_FIELDS), (recipe.lora, LORA_FIELDS))
        (taken,) = [part for part, known in parts if name in known]
        # A packed row is a whole batch to the trainer.
        packed = values["packing"] == "shared_image" and name in BATCH_SIZES
        assert getattr(taken, name) == (1 if packed else value), name
    assert recipe.training.packing is False
    assert (recipe.training.seed, recipe.training.data_seed, recipe.training.output_dir) == (7, 7, str(tmp_path))
    assert (recipe.training.max_length, recipe.training.completion_only_loss) == (None, True)
    assert recipe.lora.target_modules == LORA_TARGETS


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_grad_norm", "large", r"finetune.max_grad_norm = 'large': SFTConfig does not take it: .*number"),
        ("use_dora", 1, r"finetune.use_dora = 1: LoraConfig does not take it: .*boolean"),
        ("init_lora_weights", "gausian", r"finetune.init_lora_weights = 'gausian': LoraConfig does not take it"),
        ("optim", "adamm", r"section finetune: SFTConfig does not take its values: .*adamm"),
        ("fp16", True, r"section finetune: SFTConfig does not take its values: .*bf16"),
        ("layers_pattern", "layers", r"section finetune: LoraConfig does not take its values: .*layers_pattern"),
    ],
)
def test_a_wrong_value_stops_before_a_model_is_loaded(tmp_path, name, value, said) -> None:
    values = Params.model_validate(compose(["profile=paper"])).finetune.model_dump()
    with pytest.raises(VsdError, match=said):
        finetune_recipe({**values, "seed": 0, name: value}, tmp_path)


def test_without_a_rank_what_belongs_to_lora_is_refused(tmp_path) -> None:
    values = Params.model_validate(compose(["profile=paper"])).finetune.model_dump() | {"r": None, "seed": 0}
    assert finetune_recipe(values, tmp_path).full
    with pytest.raises(VsdError, match=r"so LoRA's finetune.use_dora=True cannot be had"):
        finetune_recipe(values | {"use_dora": True}, tmp_path)


@pytest.mark.parametrize("field", [{"label_smoothing_factor": 0.1}, {"loss_type": "dft"}])
def test_a_loss_that_would_not_weigh_answers_is_refused(tmp_path, field) -> None:
    values = Params.model_validate(compose(["profile=paper"])).finetune.model_dump() | {"bf16": False, "seed": 0}
    finetune_recipe(values | field, tmp_path)
    with pytest.raises(VsdError, match=r"loss_reduction=sample weighs the plain loss"):
        finetune_recipe(values | field | {"loss_reduction": "sample"}, tmp_path)
