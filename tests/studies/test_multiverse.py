"""A multiverse: its design, what it tells of effects that are known, and what is said of a file that cannot be used."""

import base64
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vsd_utils.common.errors import VsdError
from vsd_utils.studies.effects import contrasts_of, effect_table, effects, lenth_margin
from vsd_utils.studies.multiverse import RUNS, Multiverse, design
from vsd_utils.studies.plan import read_study, runs_of
from vsd_utils.studies.run_scores import RESAMPLES

FILE = """\
question: Which of them matters?
profile: smoke
last_stage: describe
seed: finetune.seed
overrides: [describe.limit=9]
factors:
  rank: {r 4: [finetune.r=4], r 8: [finetune.r=8]}
  boxes: {not drawn: [convert.draw_boxes=false], drawn: [convert.draw_boxes=true]}
  rate: {low: [finetune.learning_rate=0.001], high: [finetune.learning_rate=0.002]}
outcomes:
  accuracy: {of: lora, score: task1.accuracy}
  tuned above base: {of: lora, above: base, score: task1.accuracy}
follows: ""
does_not_follow: ""
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "it.yaml").write_text(FILE)
    return tmp_path


def test_all_contrasts_are_orthogonal_and_no_factor_is_mixed_up_with_a_pair() -> None:
    columns = design()
    assert (columns.T @ columns == RUNS * np.eye(15)).all()
    assert set(np.unique(columns)) == {-1, 1}
    factors = columns[:, :8]
    for one, other in combinations(range(8), 2):
        pair = factors[:, one] * factors[:, other]
        assert (pair @ factors == 0).all()


def test_each_level_meets_each_other_equally_often_and_every_run_has_its_own_seed(folder: Path) -> None:
    study = read_study("it", folder)
    assert isinstance(study, Multiverse)
    runs = runs_of(study)
    assert [run.seed for run in runs] == list(range(RUNS))
    assert len({run.digest for run in runs}) == RUNS
    for one, other in combinations(study.factors, 2):
        met = [(levels[one], levels[other]) for levels in study.levels()]
        assert {pair: met.count(pair) for pair in met} == dict.fromkeys(met, RUNS // 4)
    for run, levels in zip(runs, study.levels(), strict=True):
        for factor, level in levels.items():
            assert set(study.factors[factor][level]) <= set(run.overrides)


@given(arrays(float, 15, elements=st.floats(-50, 50)), st.floats(-100, 100))
def test_effects_that_runs_were_made_of_are_found_again(true: np.ndarray, mean: float) -> None:
    # A factor's effect is from its first level to its second, -1 to 1: twice its coefficient.
    values = mean + design() @ true / 2
    assert contrasts_of(values) == pytest.approx(true, abs=1e-9)


def test_by_chance_alone_no_more_than_one_study_in_twenty_has_an_effect_beyond_the_margin() -> None:
    # Lenth's simultaneous margin (Technometrics 31, 1989), which is known to be careful (Ye and Hamada 2000).
    drawn = np.random.default_rng(0).normal(size=(4000, 15))
    beyond = np.mean([np.abs(one).max() > (lenth_margin(one) or 0) for one in drawn])
    assert 0.01 < beyond < 0.05


def test_nothing_is_told_where_most_contrasts_are_zero() -> None:
    assert lenth_margin(np.array([3.0, -1.0, *[0.0] * 13])) is None


def record(accuracy: float, base: float) -> dict[str, object]:
    drawn = np.zeros(RESAMPLES, "<f2")
    encoded = base64.b64encode(drawn.tobytes()).decode()
    scores = {"lora": accuracy, "base": base}
    return {
        "images": {system: [9, "same"] for system in scores},
        "systems": {
            system: {"task1.accuracy": {"value": value, "resampled": encoded}} for system, value in scores.items()
        },
    }


def test_the_table_says_what_each_factor_does_and_whether_the_conclusion_holds(folder: Path) -> None:
    study = read_study("it", folder)
    runs = runs_of(study)
    # Drawn boxes add ten points; the rank a tenth; seeds up to half of one; the base model is at 50 throughout.
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, RUNS)
    records = {
        run.digest: record(
            44 + 10 * (levels["boxes"] == "drawn") + 0.1 * (levels["rank"] == "r 8") + float(of_seed), 50.0
        )
        for run, levels, of_seed in zip(runs, study.levels(), noise, strict=True)
    }
    found = effects(study, runs, records)
    table = effect_table(study, found)
    assert table.loc["boxes", "accuracy"].endswith("*")
    assert float(table.loc["boxes", "accuracy"].split()[0]) == pytest.approx(10, abs=0.5)
    assert not table.loc["rank", "accuracy"].endswith("*")
    assert table.loc["above 0; with its interval, in so many runs", "tuned above base"] == "8; 8 of 16"
    for one in found.values():
        assert one.shares.sum() == pytest.approx(1)
    del records[runs[3].digest]["systems"]["base"]  # type: ignore[attr-defined]
    with pytest.raises(VsdError, match=r"'tuned above base': run 4 has no task1\.accuracy"):
        effects(study, runs, records)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("r 8: [finetune.r=8]", "r 8: [finetune.r=8], r 9: [finetune.r=9]", "at most 2 items"),
        ("of: lora, score", "of: lora_refined, score", "its last_stage is refine"),
        ("task1.accuracy", "task1.acuracy", "'task1.acuracy' is not known"),
        ("finetune.r=8", "finetune.r=0", "greater than or equal to 1"),
        ("r 8: [finetune.r=8]", "r 8: [finetune.r=4]", "both levels are the same"),
        (
            "high: [finetune.learning_rate=0.002]",
            "high: [finetune.r=2]",
            r"sets finetune.r, which is of 'rank' already",
        ),
        ("high: [finetune.learning_rate=0.002]", "high: [finetune.seed=2]", r"finetune.seed, which is of the seed"),
        ("finetune.learning_rate=0.0", "evaluate.resamples=1", "'rate' changes nothing up to stage describe"),
        ("above: base", "above: lora", "is lora above itself"),
        ("rate:", "seed:", "'seed' names a column"),
        ("follows", "seeds: [0, 1, 2]\nfollows", "seeds: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_with_a_multiverse_is_said_with_its_place(
    folder: Path, before: str, after: str, said: str
) -> None:
    (folder / "it.yaml").write_text(FILE.replace(before, after, 2 if "resamples" in after else 1))
    with pytest.raises(VsdError, match=said):
        runs_of(read_study("it", folder))
