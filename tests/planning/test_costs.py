"""What a run takes, against counts of the real configuration, published accounting and the real annotations."""

import json
from pathlib import Path

import pytest
from transformers import LlamaConfig, Qwen2Config

from vsd_utils.__main__ import main
from vsd_utils.common.errors import VsdError
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.planning import costs, gpu_hours
from vsd_utils.planning.run_costs import run_costs
from vsd_utils.planning.weights import count_weights

PAPER = costs.vision_language(costs.configuration("hub", "llava-hf/llava-v1.6-vicuna-13b-hf"))


def test_without_a_rank_the_maps_own_weights_are_counted() -> None:
    # Counted by hand: 40 layers of four 5120 x 5120 maps and three of 5120 x 13824.
    maps = 40 * (4 * 5120 * 5120 + 3 * 5120 * 13824)
    assert count_weights(costs.configuration("hub", "llava-hf/llava-v1.6-vicuna-13b-hf"), None)[1] == maps
    # Their gradients take as many operations as the way back to the input, and LoRA's are fewer.
    full, low = (costs.training_operations(PAPER, 2_445, 5, r, recomputed=False) for r in (None, 128))
    assert full == pytest.approx(low + 2 * maps * 2_445 - 6 * 500_695_040 * 2_445)
    # Weight, gradient and Adam's two moments in float32, and autocast's copy of a map.
    full, low = (run_costs(paper(f"finetune.r={r}", "finetune.dtype=float32")) for r in ("null", "128"))
    added = full.stages["finetune"].memory - low.stages["finetune"].memory
    assert added == pytest.approx(16 * (maps - 500_695_040) + 2 * maps)


def paper(*overrides: str) -> Params:
    return Params.model_validate(compose(["profile=paper", *overrides]))


def test_sizes_are_those_of_the_real_model() -> None:
    # 40 x (4 x 5120^2 + 3 x 5120 x 13,824) linear weights; keys and values of 40 layers in two bytes.
    assert PAPER.decoder.linear == 12_687_769_600
    assert PAPER.decoder.cache_bytes == 819_200
    assert 128 * PAPER.decoder.lora_per_rank == 500_695_040
    qwen = costs.decoder(costs.configuration("hub", "Qwen/Qwen2-7B-Instruct"))
    # Its card: 7.61 billion weights, 6.53 without embeddings; biases and norms are not counted here.
    assert qwen.linear + qwen.hidden * qwen.vocabulary * 2 == pytest.approx(7.615e9, rel=1e-3)


def test_a_saved_configuration_may_leave_out_the_defaults_of_its_class() -> None:
    whole = costs.configuration("hub", "llava-hf/llava-v1.6-vicuna-7b-hf")
    usual = LlamaConfig().to_dict()
    text = {name: value for name, value in whole["text_config"].items() if name == "model_type" or value != usual[name]}
    assert "hidden_size" not in text
    assert costs.vision_language({**whole, "text_config": text}) == costs.vision_language(whole)
    assert costs.decoder({"model_type": "qwen2"}) == costs.decoder(Qwen2Config().to_dict())
    with pytest.raises(VsdError, match="'mamba' whose configuration has no num_attention_heads"):
        costs.decoder({"model_type": "mamba"})


def test_operations_agree_with_the_accounting_by_hand() -> None:
    # A 4:3 photo, 2,340 image and 105 other tokens, r 128: 142 * 10^12 without recomputation, 211 with, of which the
    # output layer takes 1.6 in the forward pass alone.
    assert costs.training_operations(PAPER, 2_445, 5, 128, recomputed=False) == pytest.approx(142e12, rel=0.02)
    assert costs.training_operations(PAPER, 2_445, 5, 128, recomputed=True) == pytest.approx(211e12, rel=0.02)
    assert 5 * PAPER.tile_operations == pytest.approx(2.1e12, rel=0.05)


def test_a_plan_counts_the_files_that_are_there(real_vsd: Path) -> None:
    """The validation files are counted, the others reckoned: 17,471 conversations, and 122,303 over the train split."""
    found = {number.name: number for number in run_costs(paper(f"fetch.annotations={real_vsd}")).numbers}
    assert found["training conversations, all (the paper: 121,339)"].value == 122_303
    assert "counted on the annotation files" in found["images, val"].source
    assert found["image tokens"].source.startswith("assumed")
    # Its own split of the 2,927 val images, six tenths to train on; and a share of a split.
    own = run_costs(paper(f"fetch.annotations={real_vsd}", "fetch.own_split=always")).work
    assert own.images == {"train": 1_756, "val": 293, "test": 878}
    assert own.conversations["train"] == {1: 1_883, 2: 7_122, 3: 1_477}
    assert len(own.pictures) == 1_883
    assert sum(own.pictures) == pytest.approx(1_883 + 7_122 + 1_477, rel=0.01)
    separate = (
        "finetune.packing=none",
        "finetune.per_device_train_batch_size=4",
        "finetune.gradient_accumulation_steps=4",
    )
    few = run_costs(paper("fetch.images={train: 1000, val: 100, test: 100}", "processes=2", *separate))
    assert few.work.images == {"train": 1_000, "val": 100, "test": 100}
    steps = {number.name: number.value for number in few.numbers}["optimizer steps"]
    assert steps == -(-sum(few.work.conversations["train"].values()) // 32)


def test_what_does_not_fit_has_a_remedy_that_fits() -> None:
    params = paper()
    small = gpu_hours.find_gpu("NVIDIA GeForce RTX 4090")
    assert small.name == "RTX-4090"
    assert gpu_hours.too_large(run_costs(params), small) == ["finetune", "describe"]
    for stage in ("finetune", "describe"):
        change = gpu_hours.remedy(params, run_costs(params).work, stage, small)
        assert change
        changed = paper(*change.split())
        assert stage not in gpu_hours.too_large(run_costs(changed), small)
        batch = changed.finetune.per_device_train_batch_size * changed.finetune.gradient_accumulation_steps
        assert batch == 16
    large = gpu_hours.find_gpu("NVIDIA H200")
    assert not gpu_hours.too_large(run_costs(params), large)
    one, eight = (gpu_hours.hours(run_costs(params), large, count) for count in (1, 8))
    assert all(one[stage] == pytest.approx(8 * eight[stage]) for stage in one)
    with pytest.raises(VsdError, match="known are"):
        gpu_hours.find_gpu("abacus")


def test_the_command_counts_every_weight(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "plan.json"
    assert main(["plan", "profile=paper", "--gpu", "H100", "--dollars-per-hour", "2", "--json", str(target)]) == 0
    numbers = {number["name"]: number["value"] for number in json.loads(target.read_text())["numbers"]}
    assert numbers["weights of the base model"] == 13_351_499_776
    assert numbers["LoRA weights that are trained, r 128"] == 500_695_040
    assert "$" in capsys.readouterr().out
    assert main(["plan", "profile=mini"]) == 2
    assert "nothing to plan" in capsys.readouterr().err
    assert main(["plan", "profile=paper", "finetune.r=0"]) == 2
    assert "finetune.r = 0" in capsys.readouterr().err
