"""What packing does to a plan, against plain arithmetic on the numbers of conversations a picture."""

import math
import shutil
from collections import Counter
from pathlib import Path

import pytest

from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params
from vsd_utils.data.annotations import read_versions
from vsd_utils.data.conversations import converse, training_row
from vsd_utils.data.samples import outline
from vsd_utils.data.splits import source_files
from vsd_utils.finetune.packing.rows import pack
from vsd_utils.planning import costs, gpu_hours
from vsd_utils.planning.batches import VAL_CONVERSATIONS, VAL_PICTURES, batches, spread, usual_pictures
from vsd_utils.planning.run_costs import RunCosts, run_costs

NONE = ("packing=none", "per_device_train_batch_size=4", "gradient_accumulation_steps=4")
PAPER = costs.vision_language(costs.configuration("hub", "llava-hf/llava-v1.6-vicuna-13b-hf"))


def paper(*finetune: str, others: tuple[str, ...] = ()) -> Params:
    return Params.model_validate(compose(["profile=paper", *(f"finetune.{change}" for change in finetune), *others]))


def numbers(found: RunCosts) -> dict[str, float]:
    return {number.name: number.value for number in found.numbers if number.unit != "most"}


def test_the_histogram_is_that_of_the_real_annotations(real_vsd: Path) -> None:
    assert sum(VAL_PICTURES.values()) == VAL_CONVERSATIONS[1] == 3_138
    assert sum(count * pictures for count, pictures in VAL_PICTURES.items()) == 17_471
    params = paper(others=(f"fetch.annotations={real_vsd}",))
    rows = [
        row
        for versions in read_versions(*source_files(params.fetch)["val"])[0]
        for row in converse(outline(versions, "val", (500, 375)), task2_captions=0)
    ]
    assert Counter(Counter(row.image for row in rows).values()) == VAL_PICTURES
    # The plan of a run that trains on them has the packs that the training makes of them.
    packs = pack([training_row(row, "vicuna") for row in rows], 16, params.seed)
    counted = Counter(row.image for row in rows)
    made = batches(params.finetune, len(rows), [*counted.values()], params.seed)
    assert made[:3] == (len(packs), 1, sum(map(len, packs)))
    assert made.most_pictures == max(map(len, packs))


def test_files_that_are_there_are_packed_as_the_training_packs_them(real_vsd: Path, tmp_path: Path) -> None:
    for version, name in ((1, "{}.json"), (2, "newvsd_{}.json")):
        (tmp_path / f"VSDv{version}").mkdir()
        val = real_vsd / f"VSDv{version}" / name.format("val")
        shutil.copy(val, tmp_path / f"VSDv{version}" / name.format("train"))
    found = run_costs(paper(others=(f"fetch.annotations={tmp_path}",)))
    (packs,) = (number for number in found.numbers if number.name == "packs, each a batch")
    assert packs.source.startswith("counted")
    rows = [{"image": f"{picture}"} for picture, count in enumerate(found.work.pictures) for _ in range(count)]
    assert len(found.work.pictures) == 3_138
    assert packs.value == len(pack(rows, 16, 0)) == numbers(found)["optimizer steps"]


@pytest.mark.parametrize(("most", "times_read"), [(40, 3_138), (16, 3_161), (8, 3_311), (4, 5_752), (1, 17_471)])
def test_tokens_are_those_of_pictures_and_texts(most: int, times_read: int) -> None:
    assert sum(math.ceil(count / most) * pictures for count, pictures in VAL_PICTURES.items()) == times_read
    # As many images as the validation files have, so that nothing is scaled.
    params = paper(f"per_device_train_batch_size={most}", others=("fetch.images={train: 2927, val: 1, test: 1}",))
    found = run_costs(params)
    text, before = found.work.text_tokens, found.work.text_before
    behind = sum(count * (text[task] - before) for task, count in VAL_CONVERSATIONS.items())
    tokens = times_read * (2_340 + before) + behind
    assert numbers(found)["training tokens"] == pytest.approx(tokens / 1e6, rel=1e-9)
    alone = sum(count * (2_340 + text[task]) for task, count in VAL_CONVERSATIONS.items())
    assert numbers(found)["training tokens with packing none"] == pytest.approx(alone / 1e6, rel=1e-9)
    # About 25 words stand before the picture.
    assert 25 < before < 45


def test_without_packing_the_plan_says_what_it_said_before_there_was_any() -> None:
    found = numbers(run_costs(paper(*NONE)))
    assert found["training conversations, all (the paper: 121,339)"] == 122_303
    assert found["optimizer steps"] == math.ceil(122_303 / 16) == 7_644
    assert found["training tokens"] == pytest.approx(295.762356, rel=1e-8)
    assert found["operations of finetune"] == pytest.approx(25.4679370, rel=1e-8)
    assert found["GPU memory of finetune"] == pytest.approx(40.8402501, rel=1e-8)
    assert "packs, each a batch" not in found


def test_one_conversation_a_picture_costs_what_separate_rows_do() -> None:
    work = run_costs(paper()).work
    alone = work._replace(pictures=[1] * sum(work.conversations["train"].values()))
    packed, separate = (run_costs(paper(*how, "max_steps=-1"), alone) for how in (("packing=shared_image",), NONE))
    for stage, other in zip(packed.stages.values(), separate.stages.values(), strict=True):
        assert stage.operations == pytest.approx(other.operations, rel=1e-4)


def test_a_step_has_packs_of_all_processes() -> None:
    one = numbers(run_costs(paper()))
    # 122,303 conversations in batches of at most 16, most of them nearly full.
    assert 7_644 < one["optimizer steps"] == one["packs, each a batch"] < 1.1 * 7_644
    changed = numbers(run_costs(paper("gradient_accumulation_steps=2", others=("processes=4",))))
    assert changed["optimizer steps"] == math.ceil(one["packs, each a batch"] / 8)
    assert changed["training tokens"] == pytest.approx(one["training tokens"], rel=1e-3)


def test_the_operations_of_a_picture_agree_with_the_accounting_by_hand() -> None:
    # 5.92 conversations of 70 tokens behind a prefix of 2,375: 163 * 10^12, recomputed 240, of which the output layer
    # on all tokens, not on labels alone as there, is 3.7.
    for recomputed, expected in ((False, 163e12), (True, 240e12)):
        picture = costs.training_operations(PAPER, 2_375, 5, 128, recomputed)
        branch = costs.training_operations(PAPER, 70, 0, 128, recomputed, before=2_375)
        assert picture + 5.92 * branch == pytest.approx(expected, rel=0.03)
        # A picture and one branch are one example.
        whole = costs.training_operations(PAPER, 2_445, 5, 128, recomputed)
        assert picture + branch == pytest.approx(whole, rel=1e-12)


def test_memory_is_that_of_the_largest_pack() -> None:
    found = run_costs(paper())
    (most,) = (number.value for number in found.numbers if (number.name, number.unit) == ("pictures in a pack", "most"))
    text, before = max(found.work.text_tokens.values()), found.work.text_before
    tokens = most * (2_340 + before) + 16 * (text - before)
    # 40 layers' inputs of 5,120 numbers, one layer in full, logits of 32,064 entries.
    bytes_a_token = 2 * 40 * 5_120 + 40 * 5_120 + 10 * 32_064
    weights = 2 * 13.35e9 + 16 * 500_695_040
    assert found.stages["finetune"].memory == pytest.approx(weights + tokens * bytes_a_token)


def test_a_remedy_keeps_the_conversations_of_a_step_and_reads_pictures_least() -> None:
    params = paper()
    work = run_costs(params).work
    medium = gpu_hours.find_gpu("A100-40GB")
    change = gpu_hours.remedy(params, work, "finetune", medium)
    assert change == "finetune.per_device_train_batch_size=8 finetune.gradient_accumulation_steps=2"
    # Reading few pictures twice costs less than recomputing all; and it changes no result, as quantization would.
    large = gpu_hours.find_gpu("A100-80GB")
    fast = paper("activation_checkpointing=false")
    assert gpu_hours.remedy(fast, work, "finetune", large) == change
    separate = paper(*NONE)
    change = gpu_hours.remedy(separate, work, "finetune", medium)
    assert change == "finetune.per_device_train_batch_size=1 finetune.gradient_accumulation_steps=16"


def test_fewer_captions_make_fewer_conversations_of_each_picture() -> None:
    few = usual_pictures(task2_captions=1)
    # 3,138 triples, a caption for each of 2,927 images, and 2,462 of task 3.
    assert sum(few) == pytest.approx(3_138 + 2_927 + 2_462, rel=0.05)
    assert min(few) == 1
    assert spread(few, len(few)) == few
    assert spread([1, 2, 3], 6) == [1, 1, 2, 2, 3, 3]
