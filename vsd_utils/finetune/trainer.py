"""Supervised fine-tuning with TRL: one way to set up its trainer, and LoRA on the language model's linear maps.

What TRL's defaults would do to this model without a word: cut image tokens at 1,024 (``max_length``), compute in
bfloat16, recompute activations. The loss is on the answer and its end token only, because rows are prompt/completion.
"""

import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from dvclive import Live
from peft import LoraConfig
from transformers import TrainerState
from transformers.trainer_callback import PrinterCallback
from trl import SFTConfig, SFTTrainer

from vsd_utils.finetune.callbacks import CURVES, Curves
from vsd_utils.models import silence  # noqa: F401

# Every linear map of the language model and nothing else: "all-linear" would take the vision tower's and the
# projector's too, which the paper keeps frozen.
LORA_TARGETS = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


def lora(rank: int, alpha: int, dropout: float) -> LoraConfig:
    """LoRA of ``rank`` with scale ``alpha / rank`` on ``LORA_TARGETS``."""
    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=LORA_TARGETS, task_type="CAUSAL_LM"
    )


def make_trainer(
    model: Any,
    processor: Any,
    train: Dataset,
    val: Dataset | None,
    folder: Path,
    *,
    adapter: LoraConfig | None = None,
    epochs: float = 1.0,
    max_steps: int = -1,
    batch_size: int,
    accumulation: int = 1,
    learning_rate: float,
    warmup_share: float = 0.03,
    scheduler: str = "cosine",
    weight_decay: float = 0.0,
    adam_beta2: float = 0.999,
    precision: str = "float32",
    checkpointing: bool = False,
    workers: int = 0,
    eval_every: int | None = None,
    save_every: int | None = None,
    seed: int = 0,
    live: Live | None = None,
    name: str = "training",
) -> SFTTrainer:
    """TRL's trainer for this model; ``folder`` takes the checkpoints (every ``save_every`` steps, two are kept)."""
    # Its threads do not survive the fork of a process that loads images, and a row is too short to need any.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    config = SFTConfig(
        output_dir=str(folder),
        num_train_epochs=epochs,
        max_steps=max_steps,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=learning_rate,
        warmup_steps=warmup_share,
        lr_scheduler_type=scheduler,
        weight_decay=weight_decay,
        adam_beta2=adam_beta2,
        bf16=precision == "bfloat16",
        use_cpu=not torch.cuda.is_available(),
        activation_checkpointing=checkpointing,
        gradient_checkpointing=checkpointing,
        max_length=None,
        completion_only_loss=True,
        remove_unused_columns=False,
        dataloader_num_workers=workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        eval_strategy="steps" if eval_every and val is not None else "no",
        eval_steps=eval_every,
        save_strategy="steps" if save_every else "no",
        save_steps=save_every or 500,
        save_total_limit=2,
        logging_steps=10,
        logging_first_step=True,
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
    )
    trainer = SFTTrainer(
        model, config, train_dataset=train, eval_dataset=val, processing_class=processor, peft_config=adapter
    )
    trainer.remove_callback(PrinterCallback)  # it prints timings, which no two runs share
    trainer.add_callback(Curves(live, name))
    return trainer


def finetuner(model: Any, processor: Any, train: Dataset, val: Dataset, work: Path, p: dict[str, Any]) -> SFTTrainer:
    """The trainer of the finetune stage from its parameters ``p``; ``work`` takes checkpoints and, live, the losses."""
    rows_a_step = p["batch_size"] * p["accumulation"]
    steps = p["max_steps"] if p["max_steps"] > 0 else math.ceil(len(train) * p["epochs"] / rows_a_step)
    live = Live(str(work / CURVES), save_dvc_exp=False, dvcyaml=None, report=None, monitor_system=False)
    return make_trainer(
        model,
        processor,
        train,
        val,
        work,
        adapter=lora(p["lora_rank"], p["lora_alpha"], p["lora_dropout"]),
        eval_every=max(1, steps // p["evaluations"]),
        live=live,
        name="fine-tuning",
        **{name: p[name] for name in _RECIPE},
    )


_RECIPE = (
    *("epochs", "max_steps", "batch_size", "accumulation", "learning_rate", "warmup_share", "scheduler"),
    *("weight_decay", "precision", "checkpointing", "workers", "save_every", "seed"),
)


def train_to_the_end(trainer: SFTTrainer) -> None:
    """Train to the end: from the last whole checkpoint in the trainer's folder, else from the start.

    After the last step's checkpoint its adapter and history are only loaded: transformers would take one more step.
    """
    checkpoint = last_checkpoint(Path(trainer.args.output_dir))
    state = TrainerState.load_from_json(str(checkpoint / _STATE)) if checkpoint else None
    if state is None or state.global_step < state.max_steps:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return
    trainer.model.load_adapter(str(checkpoint), trainer.model.active_adapter, is_trainable=True)
    trainer.state = state
    trainer.callback_handler.on_train_begin(trainer.args, trainer.state, trainer.control)
    trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)


_STATE = "trainer_state.json"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint. The trainer's state is written last, so one without it was cut short by a kill."""
    found = []
    for path in folder.glob("checkpoint-*"):
        try:
            found.append((json.loads((path / _STATE).read_text())["global_step"], path))
        except (OSError, ValueError, KeyError):
            continue
    return max(found)[1] if found else None
