"""The whole pipeline as a user runs it, on a handful of scenes: DVC, papermill, every stage, in a fresh repository."""

import re
import shutil
import subprocess
from hashlib import md5
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from kill_chains import Stage
from PIL import Image
from project import Project

from vsd_utils.commands.run_notebook import SOURCES
from vsd_utils.common.files import read_json, read_jsonl, write_json, write_jsonl
from vsd_utils.report.systems import SYSTEMS

RESULTS = ("reports", "data/predictions", "data/refined", "data/scores", "models/adapter")


def test_every_stage_leaves_what_the_next_one_and_the_reader_need(project: Project) -> None:
    for name in SOURCES.values():
        executed = nbformat.read(project.folder / "reports/notebooks" / name, as_version=4)
        code = [cell for cell in executed.cells if cell.cell_type == "code"]
        assert all(cell.execution_count for cell in code)
        errors = [output for cell in code for output in cell.outputs if output.output_type == "error"]
        warned = [
            output.text for cell in code for output in cell.outputs if output.get("name") == "stderr" and output.text
        ]
        assert (errors, warned) == ([], [])
        assert (project.folder / "data/executed" / name).with_suffix(".html").stat().st_size > 10_000
    assert {path.name for path in (project.folder / "reports/notebooks").iterdir()} == {*SOURCES.values()}
    assert len(read_jsonl(project.folder / "data/predictions/lora.jsonl")) == 27
    for table in ("main", "task1", "task2", "task3", "challenge", "paired", "published_v1", "refinement"):
        for suffix in ("md", "csv", "tex"):
            text = (project.folder / f"reports/tables/{table}.{suffix}").read_text()
            assert "Profile smoke" in text
            assert re.search(r"Seed 0, code sha256 [0-9a-f]{10}, parameters sha256 [0-9a-f]{10}\.", text)
    pictures = {path.name for path in (project.folder / "reports/figures").iterdir()}
    assert {"relation_f1.png", "confusion.png", "loss.png", "refinement.png", "examples.png"} <= pictures
    assert (project.folder / "reports/training/plots/metrics/val/loss.tsv").is_file()
    steps = [
        line for line in (project.folder / "reports/tables/convergence.md").read_text().splitlines() if "[" in line
    ]
    assert [line.split()[1:4:2] for line in steps] == [["0", "3"], ["1", "3"], ["2", "3"]]  # three images each


def test_how_long_it_took_stands_beside_the_run_and_in_no_result(project: Project) -> None:
    shown = project.run("python", "-m", "vsd_utils", "timings")
    assert all(name in shown for name in ("convert", "finetune", "describe", "  fine-tuning: 2", "  lora: 1"))


def test_metrics_have_the_documented_shape(project: Project) -> None:
    metrics = project.json("reports/metrics.json")
    assert metrics["profile"] == "smoke"
    assert set(metrics["systems"]) == set(SYSTEMS) - {"served"}  # no server was asked
    wanted = {
        "task1": {"n", "accuracy", "f1_macro", "f1_weighted"},
        "task2": {
            *("n", "bleu4", "bleu4_per_reference_max", "spice", "spice_per_reference_max"),
            *("meteor", "rouge_l", "cider"),
        },
        "task3": {"n", "mbleu4_by_rank", "mbleu4_by_sentence", "spice"},
    }
    # Two of the nine test images are given to the refiner, which rewrites task 3's sentences.
    partial = {"lora_given_to_refiner", "lora_refined"}
    for name, scores in metrics["systems"].items():
        for task, keys in wanted.items():
            assert keys <= set(scores[task])
            assert scores[task]["n"] == (9 if name not in partial else 2 if task == "task3" else 0)
            assert (task in scores["not_computed"]) == (name in partial and task != "task3")
            for key in keys - {"n"}:
                value = scores[task][key]
                assert (value is None) == bool({task, f"{task}.{key}"} & scores["not_computed"].keys())
                assert value is None or 0 <= value <= (1000 if key == "cider" else 100)
    main = (project.folder / "reports/tables/main.md").read_text()
    assert "+ LoRA, the 2 images given to the refiner" in main
    assert "+ LoRA, refined, same 2 images" in main
    submitted = {
        name: {row["img_id"] for row in project.json(f"data/submissions/{name}/task3.json")}
        for name in metrics["systems"]
    }
    assert {name for name, images in submitted.items() if len(images) == 2} == partial
    # One in nine by construction: nine test scenes, one of each relation.
    assert metrics["systems"]["majority"]["task1"]["accuracy"] == pytest.approx(100 / 9)


def test_another_data_set_is_asked_about_on_its_photos(project: Project, tmp_path: Path) -> None:
    boxes = {side: {"category": side == "object", "bbox": [5, 60, 5, 60]} for side in ("subject", "object")}
    names = [f"{number}.jpg" for number in range(3)]
    for name, content in {
        "annotations_test": {name: [{"predicate": number, **boxes} for number in (0, 1)] for name in names},
        "image_metadata_test": {name: {"width": 90, "height": 70} for name in names},
        "objects": ["ball", "box"],
        "predicates": ["on", "behind"],
    }.items():
        write_json(tmp_path / f"{name}.json", content)
    for name in names[:2]:
        Image.effect_noise((90, 70), 60).convert("RGB").save(tmp_path / name)
    before = project.digests(*RESULTS[1:])
    project.run("python", "-m", "vsd_utils", "vrd", str(tmp_path), "--photos", str(tmp_path))
    table = (project.folder / "reports/studies/vrd_smoke_photos.md").read_text()
    assert "| + LoRA, blank image " in table
    assert "2 pairs of 2 of 3 images, on their photos; 2 pairs with several relations" in table
    assert "| + LoRA - base model " in (project.folder / "reports/studies/vrd_smoke_photos_differences.md").read_text()
    assert project.digests(*RESULTS[1:]) == before
    for path in (project.folder / "reports/studies").glob("vrd_smoke*"):
        path.unlink()


def test_scenes_without_a_cue_are_asked_about(project: Project) -> None:
    before = project.digests(*RESULTS[1:])
    project.run("python", "-m", "vsd_utils", "shortcuts", "--scenes", "18")
    rows = (project.folder / "reports/studies/shortcuts_smoke.csv").read_text()
    # Of two scenes a relation: in front of and behind for height and size, all but on and in for order.
    cues = [cue for line in rows.splitlines() if (cue := line.split(",")[0]) in ("height", "size", "order")]
    assert cues == ["height"] * 3 + ["size"] * 3 + ["order"] * 8
    assert Image.open(project.folder / "reports/studies/shortcuts_smoke.png").width > 800
    assert project.digests(*RESULTS[1:]) == before
    for path in (project.folder / "reports/studies").glob("shortcuts_smoke*"):
        path.unlink()


def test_hard_scenes_are_scored_of_one_run_and_not_of_two(project: Project, tmp_path: Path) -> None:
    copy = project.copy(tmp_path / "subsets")
    copy.run("python", "-m", "vsd_utils", "subsets")
    rows = (copy.folder / "reports/studies/subsets_smoke.csv").read_text()
    assert [line.split(",")[:3] for line in rows.splitlines() if line.startswith("all,lora,")] == [["all", "lora", "9"]]
    # As after `dvc repro --single-item describe`: other answers than those that were scored.
    path = copy.folder / "data/predictions/lora.jsonl"
    answers = read_jsonl(path)
    answers[0]["sentences"] = ["on" if answers[0]["sentences"] != ["on"] else "under"]
    path.unlink()
    write_jsonl(path, answers)
    said = copy.run("python", "-m", "vsd_utils", "subsets", fails=True)
    assert "data/submissions/lora/task1-2.json: not the answers of " in said
    assert "Traceback" not in said


def test_what_was_made_names_no_folder_of_this_machine(project: Project) -> None:
    files = [path for name in ("reports", "data", "models") for path in (project.folder / name).rglob("*")]
    texts = [path for path in files if path.suffix in {".json", ".jsonl", ".md", ".ipynb", ".html", ".csv", ".tsv"}]
    assert len(texts) > 100
    assert [path for path in texts if str(project.folder) in path.read_text()] == []
    assert project.json("models/adapter/adapter_config.json")["base_model_name_or_path"] == "models/base"


def stages(ran: str) -> list[str]:
    """Stages that DVC says it has run, in their order."""
    return [line.split("'")[1] for line in ran.splitlines() if "Running stage" in line]


def test_nothing_changed_means_nothing_to_do(project: Project) -> None:
    assert "Running stage" not in project.run("dvc", "repro")


def test_opening_and_saving_a_notebook_reruns_no_stage(project: Project) -> None:
    path = project.folder / "notebooks" / SOURCES["finetune"]
    before = path.read_bytes()
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        cell.metadata["scrolled"] = True
        if cell.cell_type == "code":
            cell.execution_count = number
    notebook.metadata["language_info"] = {"name": "python", "version": "3.99"}
    nbformat.write(notebook, path)
    ran = project.run("dvc", "repro")
    path.write_bytes(before)
    assert stages(ran) == ["clean"]


def test_editing_the_figures_reruns_the_evaluation_alone_and_gives_the_same_files(project: Project) -> None:
    before, record = project.digests(*RESULTS), project.json("data/provenance.json")
    with (project.folder / "vsd_utils/report/figures.py").open("a") as file:
        file.write("# a remark\n")
    assert stages(project.run("dvc", "repro")) == ["provenance", "evaluate", "report"]
    after, edited = project.digests(*RESULTS), project.json("data/provenance.json")
    # The tables and the record name the edited code; nothing else differs.
    assert {key for key in record if record[key] != edited[key]} == {"code"}
    changed = {name for name in before if before[name] != after[name]}
    assert before.keys() == after.keys()
    assert not any(name.startswith(("data", "models")) for name in changed)
    assert f"code sha256 {edited['code']}, " in (project.folder / "reports/tables/main.csv").read_text()
    subprocess.run(["git", "checkout", "--quiet", "vsd_utils/report/figures.py"], cwd=project.folder, check=True)
    project.run("dvc", "repro")
    assert project.digests(*RESULTS) == before


def test_another_clone_at_another_commit_makes_the_same_report(project: Project, tmp_path: Path) -> None:
    made = (*RESULTS, "data/executed", "dvc.lock")
    clone = project.copy(tmp_path / "another folder")
    for name in ("README.md", "vsd_utils/commands/score.py", "tests/conftest.py"):  # no stage uses them
        with (clone.folder / name).open("a") as file:
            file.write("# a remark\n")
    clone.run("git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "--quiet", "--all", "--message", "a remark")
    forced = ["clean", "provenance", "evaluate", "report"]
    assert stages(clone.run("dvc", "repro", "--force", "--single-item", *forced)) == forced
    assert clone.digests(*made) == project.digests(*made)


def test_the_run_cache_brings_heavy_outputs_back(project: Project) -> None:
    before = project.digests(*RESULTS)
    for name in ("models", "data", "reports", "dvc.lock"):
        path = project.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    ran = project.run("dvc", "repro")
    # Only the copying of tables and notebooks into the report is not worth a cache.
    assert stages(ran) == ["report"]
    assert project.digests(*RESULTS) == before


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("finetune.lora_rank=0", "finetune.lora_rank"),
        ("+finetune.lora_rnak=8", "finetune.lora_rnak"),
        ("~describe.limit", "describe.limit"),
        ("finetune.dtype=float8", "finetune.dtype"),
    ],
)
def test_a_wrong_parameter_stops_the_run_before_any_work(project: Project, override: str, says: str) -> None:
    params = (project.folder / "params.yaml").read_bytes()
    try:
        text = project.run("dvc", "exp", "run", "-S", "profile=smoke", "-S", override, fails=True)
    finally:
        (project.folder / "params.yaml").write_bytes(params)
    assert says in text
    assert "Traceback" not in text


def test_a_source_notebook_runs_by_hand_with_the_current_parameters(project: Project) -> None:
    # From another folder, with a kernel of this environment, as JupyterLab would run it.
    text = project.run(
        *("jupyter", "nbconvert", "--to", "notebook", "--execute", "--stdout", "--log-level=ERROR"),
        str(project.folder / "notebooks" / SOURCES["convert"]),
        PYTHONPATH=str(project.folder),
    )
    assert "rendered scenes" in text
    assert "Running stage" not in project.run("dvc", "repro")


STUDY = """
question: Does one step teach anything?
profile: smoke
last_stage: describe
seed: finetune.seed
seeds: [0, 1, 2]
overrides: [finetune.max_steps=1]
variants: {tuned: {}, untuned: {system: base}}
reference: untuned
scores: [task1.accuracy, task2.bleu4]
follows: ""
does_not_follow: ""
"""


def test_a_study_is_made_by_dvc_beside_the_checkout_and_only_once(project: Project, tmp_path: Path) -> None:
    copy = project.copy(tmp_path / "with a study")
    (copy.folder / "studies/one_step.yaml").write_text(STUDY)
    as_it_was = copy.digests(*RESULTS, "params.yaml", "dvc.lock")
    copy.run("python", "-m", "vsd_utils", "study", "one_step", "--jobs", "2")
    # What the runs have in common with the checkout's comes out of the cache.
    logs = [path.read_text() for path in sorted((copy.folder / "work/studies").glob("one_step-*.log"))]
    assert [stages(said) for said in logs] == [["preflight", "finetune", "describe"]] * 3
    # An untuned model says what it said in the checkout, and has no spread over seeds, of which it knows none.
    base = copy.json("reports/metrics.json")["systems"]["base"]["task1"]["accuracy"]
    accuracy = pd.read_csv(copy.folder / "reports/studies/one_step.csv", comment="#", index_col=0)["task1.accuracy"]
    assert list(accuracy.index) == ["tuned", "untuned"]
    assert accuracy["untuned"].startswith(f"{base:.1f} [")
    assert ["±" in shown for shown in accuracy] == [True, False]
    experiments = copy.run("dvc", "exp", "list", "--name-only").split()
    of_the_study = sorted(name.rsplit("-", 1)[0] for name in experiments if name.startswith("one_step"))
    assert of_the_study == [f"one_step-tuned-{seed}" for seed in range(3)]
    assert "Running stage" not in copy.run("python", "-m", "vsd_utils", "study", "one_step")
    # Where the scores of a run are gone, DVC remembers its answers, and they are scored alike.
    runs = sorted((copy.folder / "reports/studies/runs").glob("*.json"), key=lambda path: path.stat().st_mtime)[-3:]
    first = read_json(runs[0])
    runs[0].unlink()
    assert "Running stage" not in copy.run("python", "-m", "vsd_utils", "study", "one_step")
    assert {**read_json(runs[0]), "cost": {}} == {**first, "cost": {}}
    # Its runs worked on links to DVC's cache, where nothing may be written in place.
    cached = [path for path in copy.folder.glob(".dvc/cache/files/md5/??/*") if path.suffix != ".dir"]
    assert cached
    assert all(md5(path.read_bytes()).hexdigest() == path.parent.name + path.name for path in cached)
    # The models that its seeds have trained can be asked other things.
    copy.run("python", "-m", "vsd_utils", "shortcuts", "--scenes", "18", "--study", "one_step")
    shortcuts = pd.read_csv(copy.folder / "reports/studies/shortcuts_one_step.csv", comment="#")
    assert all("±" in shown for shown in shortcuts["+ LoRA, changed"])
    assert not any("±" in shown for shown in shortcuts["base model, changed"])
    after = copy.digests(*RESULTS, "params.yaml", "dvc.lock")
    assert {name: after[name] for name in as_it_was} == as_it_was
    assert all(name.startswith("reports/studies/") for name in after.keys() - as_it_was.keys())


# Here and not in a file of its own, because a file runs in one process and this needs the pipeline's first half too.
@pytest.fixture(scope="module")
def finetune(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    copy = project.copy(tmp_path_factory.mktemp("kill-chains") / "project", "refiner")
    copy.run("python", "-m", "vsd_utils", "profile", "smoke", "finetune.max_steps=8", "finetune.save_steps=2")
    return Stage(copy, "finetune")


@pytest.mark.parametrize("number", range(2))
def test_a_chain_of_kills_leaves_the_bytes_of_an_unkilled_run(finetune: Stage, number: int) -> None:
    assert len(finetune.expected) > 300
    chain = finetune.chain(number, kills=3, seed=0)
    assert chain.killed
    assert chain.different == []
