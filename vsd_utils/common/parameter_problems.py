"""What is said of a parameter that is unknown, missing, wrong, or known by another name now."""

from pathlib import Path
from typing import Any

# What a parameter was called before, and is called now; of a profile: "profile=old": "profile=new".
RENAMED = {
    "convert.skip_invalid": "fetch.skip_invalid",
    "finetune.lora_rank": "finetune.r",
    "finetune.warmup_share": "finetune.warmup_steps (below 1 it is a share of all steps, as before)",
    "finetune.scheduler": "finetune.lr_scheduler_type",
    "finetune.epochs": "finetune.num_train_epochs",
    "finetune.batch_size": "finetune.per_device_train_batch_size",
    "finetune.accumulation": "finetune.gradient_accumulation_steps",
    "finetune.precision": "finetune.dtype (what the model is loaded in) and finetune.bf16 (what it is trained in)",
    "finetune.checkpointing": "finetune.activation_checkpointing",
    "finetune.workers": "finetune.dataloader_num_workers",
    "finetune.evaluations": "finetune.eval_steps (below 1 it is a share of all steps: 0.05 for 20 evaluations)",
    "finetune.save_every": "finetune.save_steps",
    "describe.precision": "describe.dtype",
    "refine.precision": "refine.dtype",
    "profile=sample": "profile=mini",
    "profile=layout": "profile=boxes",
}


def new_name(name: str, value: Any) -> str | None:
    """Say what a parameter, or a profile, of an old name is called now; None for any other."""
    if name in RENAMED:
        return f"parameter {name} is now {RENAMED[name]}"
    if new := RENAMED.get(f"{name}={value}"):
        return f"{name} {value} is now {new.partition('=')[2]}"
    return None


def problem_line(path: Path, problem: Any) -> str:
    """Say in one line what the schema found (``problem``, one of pydantic's errors) in the file ``path``."""
    name = ".".join(map(str, problem["loc"])) or "the file"
    if renamed := new_name(name, problem["input"]):
        return f"{path}: {renamed}"
    if problem["type"] == "missing":
        return f"{path}: parameter {name} is missing"
    if problem["type"] == "extra_forbidden":
        return f"{path}: parameter {name} is not known; no stage takes it. Is it misspelt?"
    if problem["type"] in ("further_field", "secret"):
        return f"{path}: parameter {name} {problem['msg']}"
    return f"{path}: parameter {name} = {problem['input']!r}: {problem['msg'].removeprefix('Value error, ')}"
