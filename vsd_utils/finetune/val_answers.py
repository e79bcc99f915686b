"""How training converges, by answers and not by losses: a few validation images are asked while it goes on.

Before the first step and at each evaluation, of which one is after the last step, the model answers all three tasks,
greedily, as the describe stage does with ``describe.no_repeat_ngram_size`` null. The answers lie beside the curves as
``answers/<step>.jsonl`` (rows of ``models/answering.py``), for the evaluation to score; the share of relations named
right joins the curves as ``val/relation_accuracy``.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTTrainer

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import remove, write_jsonl
from vsd_utils.common.resume import Row
from vsd_utils.data import samples
from vsd_utils.data.prompts import TASKS
from vsd_utils.finetune.callbacks import CURVES, RELATION_ACCURACY, Curves
from vsd_utils.finetune.dataset import spread
from vsd_utils.models import answering
from vsd_utils.models.launch import REPLICAS

ANSWERS = "answers"  # folder below that of the curves
_DIGITS = 6  # so that step numbers sort as names


class ValAnswers(TrainerCallback):
    """Asks validation images while the model is trained; of several processes the first does, and the others wait."""

    def __init__(
        self, processor: Any, asked: Sequence[Row], images: Path, settings: answering.Settings, curves: Curves
    ) -> None:
        """Take a processor that pads on the left, the questions, their pictures' folder, and where the share goes."""
        self.processor, self.asked, self.images, self.settings = processor, asked, images, settings
        self.curves = curves

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Ask the untuned model, for what is trained changes nothing yet; a resumed run has done so."""
        if state.global_step == 0:
            self._ask(args, state, model)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Ask, unless this step's answers are there: the stage evaluates once more at its end."""
        if not any(RELATION_ACCURACY in entry for entry in state.log_history if entry["step"] == state.global_step):
            self._ask(args, state, model)

    def _ask(self, args: TrainingArguments, state: TrainerState, model: Any) -> None:
        if not state.is_world_process_zero:
            return
        was_training = model.training
        model.eval()
        unfinished = Path(args.output_dir) / "validation answers.jsonl"  # its name is shown with the progress
        remove(unfinished)  # a killed run's, of an earlier step perhaps
        rows = answering.answer(model, self.processor, self.asked, self.images, unfinished, self.settings)
        remove(unfinished)
        model.train(was_training)
        write_jsonl(Path(args.output_dir) / CURVES / ANSWERS / f"{state.global_step:0{_DIGITS}}.jsonl", rows)
        named = [row["sentences"][0] == row["relation"] for row in rows if row["task"] == 1]
        self.curves.add(state, {RELATION_ACCURACY: 100 * sum(named) / len(named)})


def ask_while_training(
    trainer: SFTTrainer,
    values: Mapping[str, Any],
    processor: Any,
    rows: Sequence[Mapping[str, Any]],
    images: Path,
    system_prompt: str,
) -> None:
    """Have the trainer ask as the stage's parameters ``values`` say, which may be not at all.

    ``rows`` are the validation conversations: an answer may be as long as the longest of its task. The pictures of the
    validation samples lie below ``images``. ``processor`` pads on the left. Raises ``VsdError`` where the model may be
    spread over processes, of which none can answer by itself.
    """
    count = values["val_answers"]
    if count is None:
        return
    if values["accelerate_config"] != REPLICAS:
        raise VsdError(
            f"finetune.val_answers={count} needs a whole model in each process, and finetune.accelerate_config="
            f"{values['accelerate_config']!r} may spread it. Set val_answers=null or accelerate_config={REPLICAS}"
        )
    longest = [
        max(
            len(processor.tokenizer(row["completion"][0]["content"]).input_ids)
            for row in rows
            if row["id"].endswith(f"/task{task}")
        )
        for task in TASKS
    ]
    settings = answering.Settings(
        batch_size=values["per_device_eval_batch_size"],
        max_new_tokens=(longest[0], longest[1], longest[2]),
        system_prompt=system_prompt,
        task1="generate",
    )
    asked = answering.questions(spread(samples.load("val", images), count))
    curves = next(one for one in trainer.callback_handler.callbacks if isinstance(one, Curves))
    trainer.add_callback(ValAnswers(processor, asked, images, settings, curves))
