"""Several processes under ``accelerate launch``, killed and started again, against one process."""

import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from test_training import folder, one_thread, rows, samples  # noqa: F401  (the first two are fixtures)

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, read_jsonl, write_json, write_jsonl
from vsd_utils.common.paths import ROOT
from vsd_utils.common.resume import merge_parts, part
from vsd_utils.data.samples import Sample
from vsd_utils.finetune import train
from vsd_utils.finetune.dataset import collator
from vsd_utils.finetune.recipe import training_config
from vsd_utils.finetune.trainer import TrainerData, last_checkpoint, make_trainer
from vsd_utils.models import answering, answering_shares, vision_language
from vsd_utils.models.launch import launch

PARAMETERS = {
    "seed": 1,
    "threads": 1,
    "float32_matmul_precision": None,
    "processes": 1,
    "accelerate_config": "ddp",
    "packing": "none",
    "loss_reduction": "token",
    "r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.0,
    "learning_rate": 1e-2,
    "max_steps": 12,
    "per_device_train_batch_size": 4,
    "per_device_eval_batch_size": 2,
    "gradient_accumulation_steps": 1,
    "logging_steps": 1,
    "warmup_steps": 0.1,
    "lr_scheduler_type": "cosine",
    "bf16": False,
    "activation_checkpointing": False,
    "dataloader_num_workers": 0,
    "eval_steps": 4,
    "save_steps": 2,
    "val_rows": 4,
    "val_answers": None,
    "dtype": "float32",
    "quantization": "none",
}


def job(tiny: Path, work: Path, **changes: Any) -> Any:
    write_jsonl(work / "data" / "train.jsonl", rows())
    write_jsonl(work / "data" / "val.jsonl", rows()[:4])
    write_json(work / "data" / "statistics.json", {"data": "test scenes", "system_prompt": "none"})
    return train.training_job(PARAMETERS | changes, work, tiny / "base", work / "data", tiny, work / "adapter")


def kill_one_rank_once(made: Path, ended: list[psutil.Process]) -> threading.Thread:
    """On a thread: wait for the file ``made``, then SIGKILL one of the processes that write it."""

    def kill() -> None:
        while not made.exists():
            time.sleep(0.005)
        tree = psutil.Process().children(recursive=True)
        ranks = [one for one in tree if train.__name__ in one.cmdline() and "--config_file" not in one.cmdline()]
        ended.extend(tree)
        ranks[-1].kill()

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def losses(work: Path) -> dict[str, list[float]]:
    log = read_json(work / train.HISTORY)["log"]
    return {name: [entry[name] for entry in log if name in entry] for name in ("loss", "eval_loss")}


# A step of one process and of two together: four conversations, or two packs.
STEPS = {
    "none": ({"per_device_train_batch_size": 4}, {"per_device_train_batch_size": 2}),
    "shared_image": ({"gradient_accumulation_steps": 2}, {"gradient_accumulation_steps": 1}),
}


@pytest.mark.parametrize("packing", STEPS)
def test_two_processes_killed_and_resumed_have_the_loss_curve_of_one(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    packing: str,
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    of_one, of_two = STEPS[packing]
    train.train(job(folder, one, packing=packing, **of_one))
    shared = job(folder, two, processes=2, packing=packing, **of_two)
    tree: list[psutil.Process] = []
    killing = kill_one_rank_once(two / "checkpoint-2" / "whole", tree)
    with pytest.raises(
        VsdError, match=r"vsd_utils.finetune.train ended with status 1 in one of 2 processes(.|\n)*SIGKILL"
    ):
        launch(train.__name__, shared, two, 2, "ddp")
    killing.join()
    assert psutil.wait_procs(tree, timeout=30)[1] == []
    assert last_checkpoint(two) is not None
    assert not (two / train.HISTORY).exists()
    launch(train.__name__, shared, two, 2, "ddp")
    single, double = losses(one), losses(two)
    assert (len(single["loss"]), len(single["eval_loss"])) == (12, 3)
    # Not equal to the last bit: a gradient is the sum of two halves, added in another order.
    for name in single:
        assert double[name] == pytest.approx(single[name], abs=1e-5), name
    weights = [load_file(work / "adapter" / "adapter_model.safetensors") for work in (one, two)]
    assert weights[0].keys() == weights[1].keys()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-4


REFUSING = """
from vsd_utils.common.errors import VsdError
from vsd_utils.models.launch import run_launched

def work(job):
    print("shown while it runs", flush=True)
    if job["name"] == "unforeseen":
        raise RuntimeError("out of memory")
    raise VsdError(f"{job['name']}: no such thing.\\nMake one.")

raise SystemExit(run_launched(work))
"""


def test_what_a_process_says_is_shown_and_its_error_is_the_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "refusing.py").write_text(REFUSING)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    with pytest.raises(VsdError, match=r"^thing: no such thing.\nMake one.$"):
        launch("refusing", {"name": "thing"}, tmp_path, 1, "ddp")
    assert "shown while it runs\n" in capfd.readouterr().err
    with pytest.raises(
        VsdError, match=r"refusing ended with status 1 .*\n(.|\n)*RuntimeError: out of memory\nThe same"
    ):
        launch("refusing", {"name": "unforeseen"}, tmp_path, 1, "ddp")


def test_the_row_that_is_shown_is_made_as_in_training(folder: Path, tmp_path: Path) -> None:  # noqa: F811
    processor = vision_language.load_processor(folder / "base")
    training = training_config(tmp_path, seed=1)
    data = TrainerData(train.image_rows(rows(), folder))
    trainer = make_trainer(vision_language.load_model("float32", base=folder / "base"), processor, training, data)
    assert vars(collator(processor, training)) == vars(trainer.data_collator)


SYSTEMS = answering_shares.SYSTEMS


def test_any_number_of_processes_answers_as_one(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 1. An adapter, and what one process answers.
    train.train(job(folder, tmp_path / "training", max_steps=2, val_rows=2))
    adapter = tmp_path / "training" / "adapter"
    shown: list[Sample] = samples()
    asked = answering.questions(shown)
    settings = answering.Settings(batch_size=4, max_new_tokens=(4, 6, 8), system_prompt="none", task1="generate")
    processor = vision_language.load_processor(folder / "base")
    model: Any = vision_language.load_model("float32", base=folder / "base").eval()
    alone = {}
    for system in SYSTEMS:
        if system == "lora":
            model = vision_language.load_adapter(model, adapter)
        unfinished = tmp_path / "alone" / f"{system}.jsonl"
        blank = system == "lora_blank_image"
        alone[system] = answering.answer(model, processor, asked, folder, unfinished, settings, blank=blank)
    assert len({str(answers) for answers in alone.values()}) == 3
    p = {"threads": 1, "float32_matmul_precision": None, "dtype": "float32", "quantization": "none"}
    paths = (folder / "base", adapter, folder)
    # 2. Two processes, really launched, after a kill in the middle of a line and before a system was begun.
    work = tmp_path / "two"
    first = answering.batches_to_answer(asked, 4)[0]
    write_jsonl(
        part(work / "base.jsonl", 0), [row for row in alone["base"] if row["id"] in {one["id"] for one in first}][:4]
    )
    with part(work / "base.jsonl", 0).open("a") as file:
        file.write('{"id": "cut sho')
    answering_shares.answer_in_processes(2, work, p, asked, settings, *paths)
    for system in SYSTEMS:
        assert read_jsonl(work / f"{system}.jsonl") == alone[system]
        shares = [read_jsonl(part(work / f"{system}.jsonl", number)) for number in range(2)]
        assert all(len(share) >= 24 for share in shares)
    # 3. Three, one after the other here, of which one stops early and does its share again.
    work = tmp_path / "three"
    described = {"parameters": p, "settings": settings.model_dump(), "asked": asked}
    described |= {"work": str(work), "base": str(paths[0]), "adapter": str(adapter), "images": str(folder)}
    monkeypatch.setenv("WORLD_SIZE", "3")
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        answering_shares.answer_share(described)
    lost = part(work / "base.jsonl", 1)
    lines = lost.read_text().splitlines(keepends=True)
    lost.write_text("".join(lines[:-1]))
    with pytest.raises(VsdError, match=r"3 processes left 53 rows, 53 different ones, where 54 were asked for"):
        merge_parts(work / "base.jsonl", 3, asked, answering.identity)
    monkeypatch.setenv("RANK", "1")
    answering_shares.answer_share(described)
    for system in SYSTEMS:
        merge_parts(work / f"{system}.jsonl", 3, asked, answering.identity)
        assert read_jsonl(work / f"{system}.jsonl") == alone[system]


@pytest.fixture(autouse=True)
def fresh_generator() -> None:
    torch.manual_seed(0)
