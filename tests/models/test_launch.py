"""Which device a process takes, and which configuration several are launched with, also for devices not here."""

import pytest
import torch
from ruamel.yaml import YAML

from vsd_utils.common.errors import VsdError
from vsd_utils.models.launch import config_file
from vsd_utils.models.loading import device, quantized


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def apple(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert device() == "cuda"
    for number in range(2):
        monkeypatch.setenv("LOCAL_RANK", str(number))
        assert device() == f"cuda:{number}"
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(VsdError, match=r"at least 3 of them and 2 GPUs"):
        device()


def test_apples_gpu_is_taken_and_what_it_cannot_do_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    apple(monkeypatch)
    assert device() == "mps"
    assert quantized("none", "float32") is None
    with pytest.raises(VsdError, match=r"quantization = '4bit': .*found mps"):
        quantized("4bit", "bfloat16")
    assert config_file("ddp", 1).name == "single_gpu.yaml"
    with pytest.raises(VsdError, match=r"processes = 2: .*Set processes=1"):
        config_file("ddp", 2)


@pytest.mark.parametrize(
    ("found", "name", "processes", "file", "kind"),
    [
        (0, "ddp", 1, "single_gpu.yaml", "NO"),
        (0, "ddp", 2, "multi_cpu.yaml", "MULTI_GPU"),
        (2, "ddp", 1, "single_gpu.yaml", "NO"),
        (2, "ddp", 2, "multi_gpu.yaml", "MULTI_GPU"),
        (2, "fsdp2", 2, "fsdp2.yaml", "FSDP"),
    ],
)
def test_a_name_is_a_file_of_trls_or_the_one_of_ours(monkeypatch, found, name, processes, file, kind) -> None:
    gpus(monkeypatch, found)
    path = config_file(name, processes)
    content = YAML(typ="safe", pure=True).load(path)
    assert (path.name, content["distributed_type"], content.get("use_cpu")) == (file, kind, file == "multi_cpu.yaml")


def test_a_configuration_that_cannot_run_here_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    gpus(monkeypatch, 0)
    with pytest.raises(VsdError, match=r"'zero3' needs NVIDIA GPUs, found cpu"):
        config_file("zero3", 2)
    with pytest.raises(VsdError, match=r"'mine.yaml': no such file .*fsdp2, multi_gpu, single_gpu, zero1"):
        config_file("mine.yaml", 2)
    own = tmp_path / "own.yaml"
    own.write_text("")
    assert config_file(str(own), 2) == own
