"""dvc.yaml against the code: what a stage depends on is what it runs, and nothing more."""

import pytest
from pipeline import PACKAGE, SCRIPTS, STAGES, imported, modules_of

from vsd_utils.notebooks import SOURCES
from vsd_utils.params import SHARED
from vsd_utils.paths import NOTEBOOKS, ROOT
from vsd_utils.sections import Params

WORKING = [name for name in STAGES if name not in ("clean", "report")]


def paths(entries: list[str | dict[str, dict[str, bool]]]) -> dict[str, bool]:
    """Path -> whether it is cached, of a list of outputs or dependencies."""
    return {
        path: options.get("cache", True)
        for entry in entries
        for path, options in ({entry: {}} if isinstance(entry, str) else entry).items()
    }


def outputs(stage: str) -> dict[str, bool]:
    return paths([*STAGES[stage].get("outs", []), *STAGES[stage].get("metrics", []), *STAGES[stage].get("plots", [])])


def test_every_stage_is_a_notebook_or_a_script() -> None:
    assert list(STAGES) == ["clean", *SCRIPTS, *SOURCES, "report"]
    assert len(WORKING) == 8
    for stage in WORKING:
        module = f"vsd_utils.{SCRIPTS[stage]}" if stage in SCRIPTS else f"vsd_utils.notebooks run {stage}"
        assert STAGES[stage]["cmd"] == f"python -m {module}"


@pytest.mark.parametrize("stage", WORKING)
def test_a_stage_depends_on_exactly_the_modules_it_runs(stage) -> None:
    modules = {path for path in paths(STAGES[stage]["deps"]) if path.startswith("vsd_utils/") and path.endswith(".py")}
    assert modules == {f"vsd_utils/{module}.py" for module in modules_of(stage)}
    assert len(modules) >= 7
    assert all((ROOT / path).is_file() for path in modules)


def test_every_module_belongs_to_a_stage() -> None:
    run = set().union(*(modules_of(stage) for stage in [*WORKING, "report"]))
    before_dvc = {"dvc_state"}  # `make repro` runs it first
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == run | before_dvc


def test_one_stage_cleans_the_notebooks() -> None:
    clean = STAGES["clean"]
    assert clean["cmd"] == "python -m vsd_utils.notebooks clean"
    modules = {f"vsd_utils/{module}.py" for module in imported(PACKAGE / "notebooks.py") | {"notebooks"}}
    assert {*clean["deps"]} == {f"notebooks/{file}" for file in SOURCES.values()} | modules
    assert clean["outs"] == [f"data/notebooks/{stage}.ipynb" for stage in SOURCES]


@pytest.mark.parametrize("stage", SOURCES)
def test_a_notebook_stage_runs_the_cleaned_copy(stage) -> None:
    notebooks = [path for path in paths(STAGES[stage]["deps"]) if path.endswith(".ipynb")]
    assert notebooks == [f"data/notebooks/{stage}.ipynb"]
    executed = f"data/executed/{SOURCES[stage]}"
    assert {executed, executed.replace(".ipynb", ".html")} <= outputs(stage).keys()


def test_a_stage_depends_on_whole_outputs() -> None:
    # Of a file inside one, `dvc exp run` reads the lock's list of the directory, and fails where that was never made.
    made = [path for stage in STAGES for path in outputs(stage)]
    used = [path for stage in WORKING for path in paths(STAGES[stage]["deps"]) if not path.startswith("vsd_utils/")]
    assert {path.split("/")[0] for path in used} == {"data", "models", "reports"}
    assert {*used} <= {*made}


def test_nobody_depends_on_a_source_notebook_or_an_executed_one() -> None:
    seen = 0
    for stage in WORKING:
        for path in paths(STAGES[stage]["deps"]):
            shown = ("reports/notebooks", "data/executed", f"{NOTEBOOKS.name}/", "work")
            assert not path.startswith(shown), (stage, path)
            assert path not in ("reports", "data", "vsd_utils", "notebooks", "params.yaml"), (stage, path)
            seen += 1
    assert seen > 100


def test_what_is_read_is_what_another_stage_writes() -> None:
    made = [path for stage in STAGES for path in outputs(stage)]
    assert len(made) == len({*made})
    for stage in WORKING:
        for path in paths(STAGES[stage]["deps"]):
            if path.startswith("vsd_utils/"):
                assert (ROOT / path).is_file()
            else:
                assert any(path == out or path.startswith(f"{out}/") for out in made), (stage, path)


def test_results_are_seen_by_git_and_heavy_files_by_the_cache() -> None:
    everything = {path: cached for stage in STAGES for path, cached in outputs(stage).items()}
    results = {path for path in everything if path.startswith("reports/")}
    assert results == {f"reports/{name}" for name in ("metrics.json", "tables", "figures", "training", "notebooks")}
    assert {path for path, cached in everything.items() if not cached} == results
    # DVC's run cache takes only stages whose outputs are all cached, or metrics or plots.
    for stage in WORKING:
        assert all(paths(STAGES[stage]["outs"]).values()), stage
    assert paths(STAGES["evaluate"]["metrics"]) == {"reports/metrics.json": False}


@pytest.mark.parametrize("stage", WORKING)
def test_a_stage_has_the_parameters_of_its_section(stage) -> None:
    names = STAGES[stage]["params"]
    assert stage in names
    assert len(names) == len({*names})
    for name in names:
        model = Params
        for part in name.split("."):
            assert part in model.model_fields, name
            model = model.model_fields[part].annotation
    if stage in SOURCES:
        assert names == [*SHARED, stage]  # all that its notebook takes, and nothing that it does not


@pytest.mark.parametrize("module", ["figures", "tables", "metrics", "spice"])
def test_an_edit_of_the_report_reruns_the_report_alone(module) -> None:
    assert [stage for stage in WORKING if f"vsd_utils/{module}.py" in STAGES[stage]["deps"]] == ["evaluate"]
    assert not any(path in paths(STAGES[stage]["deps"]) for path in outputs("evaluate") for stage in WORKING)


def test_what_python_and_the_environment_leave_is_no_change() -> None:
    ignored = (ROOT / ".dvcignore").read_text().split()
    assert {"__pycache__/", ".venv/", "work/"} <= {*ignored}
