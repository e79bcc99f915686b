"""Studies: what their files may say, what their tables are made of, and that the committed ones are joined anew."""

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsd_utils.__main__ import main
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json
from vsd_utils.common.paths import STUDY_REPORTS
from vsd_utils.models.endpoint import Server
from vsd_utils.refine import local_model, served_model
from vsd_utils.studies import cost, tables
from vsd_utils.studies.plan import read_study, runs_of, study_names
from vsd_utils.studies.run_scores import scores_file

STUDY = """\
question: Does it matter?
profile: smoke
last_stage: describe
seed: finetune.seed
seeds: [0, 1, 2]
overrides: []
variants:
  plain: {}
  wider: {overrides: [finetune.r=8]}
  untuned: {system: base}
reference: plain
scores: [task1.accuracy]
follows: ""
does_not_follow: ""
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "it.yaml").write_text(STUDY)
    return tmp_path


def test_a_run_is_known_by_its_parameters_alone(folder: Path) -> None:
    runs = runs_of(read_study("it", folder))
    assert [(run.variant, run.seed) for run in runs][:4] == [("plain", 0), ("plain", 1), ("plain", 2), ("wider", 0)]
    digests = {run.variant: {one.digest for one in runs if one.variant == run.variant} for run in runs}
    assert len(digests["plain"]) == 3
    assert digests["untuned"] == digests["plain"]  # the same runs, of which another system's answers are compared
    assert not digests["wider"] & digests["plain"]
    # Neither a study's name nor what a later stage does makes another run of it.
    (folder / "again.yaml").write_text(
        STUDY.replace("overrides: []", "overrides: [evaluate.resamples=10, refine.items=3]")
    )
    assert [run.digest for run in runs_of(read_study("again", folder))] == [run.digest for run in runs]
    assert len({run.experiment for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("reference: plain", "reference: plane", "'plane' is none of the variants plain, wider, untuned"),
        ("task1.accuracy", "task1.acuracy", "'task1.acuracy' is not known"),
        ("[0, 1, 2]", "[0, 0, 1]", "given twice"),
        ("[0, 1, 2]", "[0, 1]", "at least 3 items"),
        ("{system: base}", "{system: lora_refined}", "its last_stage is refine"),
        ("finetune.r=8", "describe.limit=2", "'wider' answers about other images than 'plain'"),
        ("finetune.r=8", "fetch.scenes.test=18", "'wider' answers about other images than 'plain'"),
        ("question: Does it matter?", "question: |\n  Does it\n  matter?", "must be one line"),
        ("finetune.r=8", "finetune.rank=8", "rank"),
        ("finetune.r=8", "finetune.r=0", "greater than or equal to 1"),
        ("{overrides: [finetune.r=8]}", "{}", "are the same:\nplain, seed 0\nwider, seed 0"),
        ("question: Does it matter?", "", "question: Field required"),
        ("last_stage: describe", "last_stage: [", "not YAML"),
    ],
)
def test_what_is_wrong_with_a_study_is_said_with_its_place(folder: Path, before: str, after: str, said: str) -> None:
    (folder / "it.yaml").write_text(STUDY.replace(before, after))
    with pytest.raises(VsdError) as error:
        runs_of(read_study("it", folder))
    assert said in str(error.value)
    assert "it.yaml" in str(error.value) or "study it" in str(error.value)


def test_a_study_that_is_not_there_is_said_beside_those_that_are(folder: Path) -> None:
    with pytest.raises(VsdError, match=r"other\.yaml: no such file\. There are: it"):
        read_study("other", folder)


def test_a_study_of_a_pretrained_model_is_planned_and_refused_before_any_run(capsys) -> None:
    assert main(["study", "loss_reduction", "--profile", "paper", "--plan", "--gpu", "H100"]) == 0
    said = capsys.readouterr()
    assert "study loss_reduction_paper: 6 runs to make" in said.err
    rows = [line.split("|") for line in said.out.splitlines() if line.startswith(("| tokens", "| answers"))]
    assert len(rows) == 6
    assert all(0.1 < float(row[5]) < 100 and not row[6].strip() for row in rows)
    assert main(["study", "loss_reduction", "--profile", "paper", "--gpu", "RTX 4090"]) == 2
    assert "6 of 6 runs do not fit RTX-4090, the first is 'tokens' (finetune, describe)" in capsys.readouterr().err
    assert main(["study", "loss_reduction", "--profile", "paper", "--gpu", "H100", "--jobs", "2"]) == 2
    assert "--jobs 2, and 'tokens' has a GPU to itself" in capsys.readouterr().err
    assert main(["study", "loss_reduction", "--plan"]) == 0
    assert "0 runs to make" in capsys.readouterr().err


def test_holm_is_that_of_r() -> None:
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") of R 4.3
    assert tables.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert tables.holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_corrects_upwards_keeps_the_order_and_is_no_milder_than_nothing(values: list[float]) -> None:
    corrected = tables.holm(values)
    assert all(p <= c <= min(1.0, len(values) * p) + 1e-12 for p, c in zip(values, corrected, strict=True))
    assert all(
        c <= d + 1e-12
        for p, c in zip(values, corrected, strict=True)
        for q, d in zip(values, corrected, strict=True)
        if p < q
    )


def record(right: np.ndarray, images: int, weights: np.ndarray) -> dict[str, Any]:
    """The scores of a run that has these images ``right``."""
    value = 100 * float(right.mean())
    drawn = (100 * (weights @ right) / images - value).astype("<f2")
    score = {"value": value, "resampled": base64.b64encode(drawn.tobytes()).decode()}
    return {
        "images": {"lora": [images, "d"], "base": [images, "d"]},
        "systems": {"lora": {"task1.accuracy": score}, "base": {"task1.accuracy": score | {"value": 0.0}}},
        "cost": {"finetune": {"seconds": 10.0, "peak_gib": 1.0}},
        "adapter": {"parameters": 1000, "bytes": 4000},
        "places": {"definition": "what it is", "base": 90.0, "lora": value},
    }


def test_intervals_over_images_spread_over_seeds_and_tests_come_apart(folder: Path) -> None:
    study = read_study("it", folder)
    runs = runs_of(study)
    random = np.random.default_rng(0)
    images = 400
    weights = np.stack([np.bincount(random.integers(0, images, images), minlength=images) for _ in range(500)])
    share = {"plain": (0.6, 0.6, 0.6), "wider": (0.5, 0.7, 0.9)}
    records = {
        run.digest: record((np.arange(images) < share[run.variant][run.seed] * images).astype(float), images, weights)
        for run in runs
        if run.system == "lora"
    }
    scores = tables.variant_scores(study, runs, records)
    plain, wider = scores["plain"]["task1.accuracy"], scores["wider"]["task1.accuracy"]
    assert plain.mean == pytest.approx(60)
    assert plain.spread == pytest.approx(0)
    assert wider.mean == pytest.approx(70)
    assert wider.spread == pytest.approx(20)
    # Of a share p of n images the interval is about 1.96 sqrt(p (1 - p) / n) to either side, whatever the seeds do.
    half = 100 * 1.96 * np.sqrt(0.6 * 0.4 / images)
    low, high = plain.interval
    assert (60 - low, high - 60) == pytest.approx((half, half), rel=0.2)
    tested = tables.differences(study, scores)
    better = tested["wider", "task1.accuracy"]
    assert better.value == pytest.approx(10)
    assert better.corrected < 0.05
    table = tables.difference_table(study, tested)
    assert table.loc["wider", "task1.accuracy"].startswith("+10.0 [")
    assert table.loc["wider", "task1.accuracy"].endswith("*")
    assert tables.score_table(study, scores).loc["wider", "task1.accuracy"].endswith("± 20.0")
    costs = tables.cost_table(study, runs, records)
    assert costs.loc["untuned", "trained numbers"] == "0"
    assert (costs.loc["untuned", tables.PLACES], costs.loc["wider", tables.PLACES]) == ("90.0", "70.0 ± 20.0")
    for one in records.values():  # made before that was measured
        del one["places"]
    assert tables.PLACES not in tables.cost_table(study, runs, records)
    alike = tables.differences(study, scores | {"wider": scores["plain"]})
    assert alike["wider", "task1.accuracy"].corrected == 1
    assert scores["untuned"]["task1.accuracy"].spread is None  # no seed changes the base model's answers
    elsewhere = {**records, runs[0].digest: records[runs[0].digest] | {"images": {"lora": [images, "e"], "base": []}}}
    with pytest.raises(VsdError, match="different images"):
        tables.variant_scores(study, runs, elsewhere)


SERVED = """{base_url: 'http://127.0.0.1:1/v1', model: m, api_key_variable: null, requests_at_once: 1,
  requests_per_minute: null, dollars_per_million_input_tokens: 3000, dollars_per_million_output_tokens: 5000,
  request_fields: {}}"""


def test_a_refiner_is_shown_with_what_was_accepted_and_a_server_with_what_it_takes_at_most(folder: Path) -> None:
    refined = STUDY.replace("last_stage: describe", "last_stage: refine").replace("finetune.seed", "refine.seed")
    served = f'{{overrides: ["refine.endpoint={" ".join(SERVED.split())}", refine.items=0], system: lora_refined}}'
    (folder / "it.yaml").write_text(
        refined.replace("{overrides: [finetune.r=8]}", served).replace("[]", "[refine.items=0]")
    )
    study = read_study("it", folder)
    runs = runs_of(study)
    server = next(run for run in runs if run.variant == "wider")
    params = cost.params_of(server)
    row = {
        "id": "1",
        "task": 3,
        "subject": "cup",
        "object": "box",
        "label": "on",
        "sentences": ["the cup is on it"] * 3,
    }
    dollars = cost.dollars(params, [row])
    assert dollars is not None
    # What the notebook says before it asks is rounded to cents.
    p = params.refine
    assert p.endpoint is not None
    settings = local_model.Settings(**(p.model_dump(include=set(local_model.Settings.model_fields)) | {"seed": 0}))
    said = Server(p.endpoint.model_dump()).estimate(served_model.sizes([row], {"1"}, settings))
    assert f"at most about {dollars:,.2f} dollars" in said
    assert cost.dollars(cost.params_of(runs[0]), [row]) is None
    records = {run.digest: record(np.ones(3), 3, np.ones((2, 3))) for run in runs}
    for run, accepted in zip((run for run in runs if run.variant == "wider"), (10, 20, 30), strict=True):
        records[run.digest] |= {"rewriting": {"given": 40, "rewritten": accepted, "dollars": dollars}}
        records[run.digest]["cost"] |= {"refine": {"seconds": 60.0, "peak_gib": 2.0}}
    table = tables.cost_table(study, runs, records)
    assert table.loc["wider", [tables.REWRITTEN, "refine, s"]].tolist() == ["50.0 ± 25.0", "60"]
    assert table.loc["wider", "dollars a run, at most"] == f"{dollars:.2f}"
    assert table.loc["plain", [tables.REWRITTEN, "refine, s"]].tolist() == ["", ""]


def test_p_of_a_normal_difference() -> None:
    # 2 * pnorm(-1.96) and 2 * pnorm(-5) of R
    assert tables.two_sided(-1.96, 1.0) == pytest.approx(0.04999579, rel=1e-6)
    assert tables.two_sided(5.0, 1.0) == pytest.approx(5.733031e-07, rel=1e-6)
    assert tables.two_sided(0.0, 0.0) == 1
    assert tables.two_sided(1.0, 0.0) == 0


@pytest.mark.parametrize("name", study_names())
def test_the_committed_studies_are_joined_from_their_runs_alone(name: str, monkeypatch, tmp_path: Path) -> None:
    runs = runs_of(read_study(name))
    assert all(read_json(scores_file(run.digest))["digest"] == run.digest for run in runs), f"vsd study {name}"
    monkeypatch.setattr("vsd_utils.commands.study.STUDY_REPORTS", tmp_path)
    assert main(["study", name, "--join"]) == 0
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in STUDY_REPORTS.glob(f"{name}[._]*")}
    assert made == {
        key: committed[key] for key in committed if re.fullmatch(rf"{name}(_cost|_differences|_runs)?\.\w+", key)
    }


def test_every_committed_run_is_one_of_a_study() -> None:
    wanted = {run.digest for name in study_names() for run in runs_of(read_study(name))}
    assert {path.stem for path in (STUDY_REPORTS / "runs").glob("*.json")} == wanted
