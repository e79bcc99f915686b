"""Supervised fine-tuning with TRL: its trainer, set up in one way, and how a killed training goes on."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset, disable_progress_bars
from dvclive import Live
from peft import LoraConfig
from transformers import TrainerState
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer import utils as trl_utils

from vsd_utils.finetune.callbacks import CURVES, WHOLE, Curves, WholeCheckpoints
from vsd_utils.finetune.loss import SampleMeanTrainer
from vsd_utils.finetune.recipe import Recipe
from vsd_utils.models import loading  # noqa: F401  (for quiet libraries)

disable_progress_bars()  # as ``models/loading.py`` does for transformers

# TRL 1.16 multiplies by the output layer where the loss is on NVIDIA's GPUs only, and everywhere else at every token,
# for devices that compile anew for each shape. A CPU does not: with SmolLM2's 49,152 tokens, of which few are in the
# loss, that is a third of a training step (benchmarks/small/scored.py).
trl_utils._use_triton = lambda device: device.type in ("cuda", "cpu")


class TrainerData(NamedTuple):
    """Hold training rows, validation rows if any, and what makes a batch of rows (None: what TRL makes by itself)."""

    train: Dataset
    val: Dataset | None = None
    collator: Any = None


def make_trainer(
    model: Any,
    processor: Any,
    training: SFTConfig,
    data: TrainerData,
    *,
    lora: LoraConfig | None = None,
    live: Live | None = None,
    name: str = "training",
    loss_reduction: str = "token",
) -> SFTTrainer:
    """Make TRL's trainer for this model: of all its weights that require a gradient, or of what ``lora`` adds alone.

    ``loss_reduction`` says what the loss is a mean of (``loss.py``). Losses go to ``live`` if there is one; progress,
    under ``name``, to standard error.
    """
    # Its threads do not survive the fork of a process that loads images, and a row is too short to need any.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    trainer = (SampleMeanTrainer if loss_reduction == "sample" else SFTTrainer)(
        model,
        training,
        data_collator=data.collator,
        train_dataset=data.train,
        eval_dataset=data.val,
        processing_class=processor,
        peft_config=lora,
    )
    trainer.remove_callback(PrinterCallback)  # it prints timings, which no two runs share
    trainer.add_callback(WholeCheckpoints())
    trainer.add_callback(Curves(live, name))
    return trainer


def finetuner(model: Any, processor: Any, data: TrainerData, recipe: Recipe) -> SFTTrainer:
    """Make the trainer of the finetune stage; the recipe's folder takes checkpoints and, live, the losses."""
    curves, live = Path(recipe.training.output_dir) / CURVES, None
    if recipe.training.process_index == 0:  # of several, one writes
        live = Live(str(curves), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)
    return make_trainer(
        model,
        processor,
        recipe.training,
        data,
        lora=recipe.peft_config(model),
        live=live,
        name="fine-tuning",
        loss_reduction=recipe.loss_reduction,
    )


def train_to_the_end(trainer: SFTTrainer) -> None:
    """Train to the end: from the last whole checkpoint in the trainer's folder, else from the start.

    After the last step's checkpoint its adapter and history are only loaded: transformers would take one more step.
    """
    # 1. How far an earlier, killed run came.
    checkpoint = last_checkpoint(Path(trainer.args.output_dir))
    state = TrainerState.load_from_json(str(checkpoint / _STATE)) if checkpoint else None
    # 2. Steps are left: transformers restores weights, optimizer, schedule, random state and place in the data.
    if state is None or state.global_step < state.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return
    # 3. None is left: weights and history, and the callbacks told as if it had just ended.
    trainer.model.load_adapter(str(checkpoint), trainer.model.active_adapter, is_trainable=True)
    trainer.state = state
    trainer.callback_handler.on_train_begin(trainer.args, trainer.state, trainer.control)
    trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)


_STATE = "trainer_state.json"


def last_checkpoint(folder: Path) -> Path | None:
    """Find the newest checkpoint that is marked as whole; None where there is none."""
    found = [mark.parent for mark in folder.glob(f"checkpoint-*/{WHOLE}")]
    return max(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)
