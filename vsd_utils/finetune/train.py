"""Training as one process or several: what the finetune notebook starts through ``accelerate launch``.

    accelerate launch --config_file FILE --num_processes N -m vsd_utils.finetune.train work/finetune/DIGEST/job.json

Trains to the end from where a killed run was, and leaves the adapter with its model card and, in the job's folder,
``history.json`` (steps, losses, the last validation loss) and ``probe.safetensors`` (what the trained model says of the
first row, for the reloaded one to be compared with).
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from vsd_utils.common.files import read_json, read_jsonl, replacing, write_json
from vsd_utils.finetune import adapter
from vsd_utils.finetune.dataset import collator, image_rows, trainer_data
from vsd_utils.finetune.packing.attention import use_shared_image_attention
from vsd_utils.finetune.recipe import SHARED_IMAGE, finetune_recipe
from vsd_utils.finetune.trainer import finetuner, train_to_the_end
from vsd_utils.finetune.val_answers import ask_while_training
from vsd_utils.models import vision_language
from vsd_utils.models.checkpoint import read_pointer
from vsd_utils.models.launch import Job, run_launched
from vsd_utils.models.loading import set_up_torch

HISTORY = "history.json"
PROBE = "probe.safetensors"
# What changes how long it takes and no more, and so stands in no model card.
_NOT_IN_THE_CARD = ("threads", "dataloader_num_workers")


def training_job(
    parameters: dict[str, Any], folder: Path, base: Path, conversations: Path, samples: Path, target: Path
) -> Job:
    """Describe a training: its parameters, and the folders that it reads and writes.

    ``folder`` takes unfinished work and the two files of the top, ``target`` the adapter.
    """
    paths = {"folder": folder, "base": base, "conversations": conversations, "samples": samples, "target": target}
    return {"parameters": parameters, **{name: str(path) for name, path in paths.items()}}


def train(job: Job) -> None:
    """Do a ``job`` in this process, together with those that were launched with it."""
    p = job["parameters"]
    folder, conversations, base = Path(job["folder"]), Path(job["conversations"]), Path(job["base"])
    set_up_torch(p["threads"], p["float32_matmul_precision"])
    # 1. The recipe, which also lets the processes find each other; then data and model.
    recipe = finetune_recipe(p, folder)
    rows = {split: read_jsonl(conversations / f"{split}.jsonl") for split in ("train", "val")}
    statistics = read_json(conversations / "statistics.json")
    processor = vision_language.load_processor(base)
    data = trainer_data(rows, Path(job["samples"]), processor, p)
    model = vision_language.load_model(p["dtype"], p["quantization"], base)
    if p["packing"] == SHARED_IMAGE:
        use_shared_image_attention(model)
    trainer = finetuner(model, processor, data, recipe)
    own = vision_language.load_processor(base)  # pads on the left, whatever the trainer does to the other
    ask_while_training(trainer, p, own, rows["val"], Path(job["samples"]), statistics["system_prompt"])
    # 2. Training, in all processes.
    train_to_the_end(trainer)
    log = list(trainer.state.log_history)  # evaluating adds to it
    final = trainer.evaluate()
    first = image_rows(rows["train"][:1], Path(job["samples"]))[0]
    logits = _logits(trainer, collator(processor, recipe.training)([first]))
    shards = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if shards else None
    # 3. What it made, by the first process.
    if not trainer.is_world_process_zero():
        return
    adapter.save(
        trainer.model,
        processor,
        Path(job["target"]),
        read_pointer(base).model_dump(),
        {name: p[name] for name in p if name not in _NOT_IN_THE_CARD},
        {
            "Data": f"{statistics['data']}; {len(rows['train']):,} conversations",
            "Steps": trainer.state.global_step,
            "Validation loss": f"{final['eval_loss']:.4f}",
        },
        weights,
    )
    with replacing(folder / PROBE) as path:
        save_file({"logits": logits}, path)
    outcome = {"steps": trainer.state.global_step, "eval_loss": final["eval_loss"], "log": log}
    write_json(folder / HISTORY, outcome)


def _logits(trainer: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Compute logits (1, tokens, vocabulary) of a row, on the CPU; every process has to, for each may hold a part."""
    model = trainer.model_wrapped.eval()
    with torch.inference_mode():
        inputs = {name: tensor.to(trainer.args.device) for name, tensor in batch.items() if name != "labels"}
        return model(**inputs).logits.cpu().contiguous()


def main() -> int:
    """Train as the job says whose file the command line names."""
    return run_launched(train)


if __name__ == "__main__":
    sys.exit(main())
