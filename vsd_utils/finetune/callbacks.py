"""What is written down while a model is trained: its losses, and how far it has come."""

import math
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from dvclive import Live
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing_folder
from vsd_utils.common.progress import Meter

CURVES = "curves"  # folder of the losses below that of the checkpoints
RELATION_ACCURACY = "val_relation_accuracy"  # entry of the trainer's log: share of relations named right, in %
WHOLE = "whole"  # file in a checkpoint of which nothing is missing


class WholeCheckpoints(TrainerCallback):
    """Marks a checkpoint once every process has written its part; one without the mark was cut by a kill."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Wait for all processes, then mark the checkpoint of this step."""
        PartialState().wait_for_everyone()
        if state.is_world_process_zero:
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()


class Curves(TrainerCallback):
    """Sends losses to DVCLive, from the first step on also after a resume, and progress to standard error."""

    def __init__(self, live: Live | None, name: str) -> None:
        """Take where losses go (None: nowhere) and what the training is called."""
        self.live, self.name = live, name
        self.meter: Meter | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Repeat what a resumed run logged before it was killed."""
        if state.is_world_process_zero:
            self.meter = Meter(self.name, state.max_steps, state.global_step)
        for entry in state.log_history:
            self._log(entry)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Show how far it has come; have the loss logged with each checkpoint.

        The trainer keeps the losses since it last logged in memory alone: a resumed run would log another mean.
        """
        if control.should_save:
            control.should_log = True
        if self.meter:
            self.meter.at(state.global_step)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Pass the newest entry on."""
        self._log(state.log_history[-1])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the curves: what is evaluated later belongs to no step."""
        if self.live is not None:
            self.live.end()
            self.live = None

    def add(self, state: TrainerState, found: dict[str, float]) -> None:
        """Put what was found at this step into the trainer's log, which a checkpoint keeps, and pass it on."""
        entry = {**found, "step": state.global_step}
        state.log_history.append(entry)
        self._log(entry)

    def _log(self, entry: dict[str, Any]) -> None:
        names = {
            "loss": "train/loss",
            "learning_rate": "train/learning_rate",
            "eval_loss": "val/loss",
            RELATION_ACCURACY: "val/relation_accuracy",
        }
        found = {label: entry[key] for key, label in names.items() if key in entry}
        if wrong := [label for label, value in found.items() if not math.isfinite(value)]:
            raise VsdError(
                f"{self.name}, step {entry['step']}: {wrong[0]} is {found[wrong[0]]}, so nothing more can be learnt. "
                "Lower the learning rate, or leave out the further field of section finetune that causes it."
            )
        if self.live is not None and found:
            self.live.step = entry["step"]
            for label, value in found.items():
                self.live.log_metric(label, value)
            self.live.sync()


def publish_curves(work: Path, target: Path) -> None:
    """Replace the folder ``target`` by the losses of a finished training in ``work``."""
    with replacing_folder(target) as folder:
        shutil.copytree(work / CURVES, folder, dirs_exist_ok=True)
