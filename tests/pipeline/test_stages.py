"""dvc.yaml against the code: what a stage depends on is what it runs, and nothing more."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from stages import PACKAGE, STAGES, imported, notebook_runs, runs

from vsd_utils.__main__ import VERBS
from vsd_utils.commands import audit, preflight, provenance
from vsd_utils.commands.run_notebook import SOURCES, parameter_names
from vsd_utils.common.params import SHARED
from vsd_utils.common.paths import NOTEBOOKS, ROOT
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params

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
    assert list(STAGES) == ["clean", "preflight", "provenance", "fetch", "base", "refiner", *SOURCES, "report"]
    assert len(WORKING) == 10
    for stage in SOURCES:
        assert STAGES[stage]["cmd"] == f"python -m vsd_utils run-notebook {stage}"


def files(stage: str) -> set[Path]:
    """Files of the package that a stage depends on, by themselves or in a folder."""
    declared = [ROOT / path for path in paths(STAGES[stage]["deps"]) if path.startswith("vsd_utils/")]
    inside = {file for path in declared for file in (path.rglob("*") if path.is_dir() else [path])}
    return {file for file in inside if file.is_file() and "__pycache__" not in file.parts}


def test_the_digest_of_the_code_covers_what_any_stage_depends_on_and_nothing_else() -> None:
    others = [stage for stage in STAGES if stage != "provenance"]
    own = PACKAGE / "commands" / "provenance.py"
    assert files("provenance") == set().union(*map(files, others)) | {own}
    assert not files("provenance") & {PACKAGE / "__main__.py", PACKAGE / "commands/score.py"}
    notebooks = {path for path in paths(STAGES["provenance"]["deps"]) if path.endswith(".ipynb")}
    assert notebooks == {*STAGES["clean"]["outs"]}
    # Overrides are told by the profiles; and every parameter counts.
    assert {"conf/config.yaml", "conf/profile"} <= {*paths(STAGES["provenance"]["deps"])}
    assert STAGES["provenance"]["params"] == list(Params.model_fields)
    code = provenance.code_paths()
    assert {path.relative_to(ROOT).as_posix() for path in code} == {
        path for path in paths(STAGES["provenance"]["deps"]) if not path.startswith("conf/")
    }


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "provenance"])
def test_a_stage_depends_on_what_it_runs(stage) -> None:
    # Folders or files, so that nothing can go stale; and no file that it does not run.
    declared = {ROOT / path for path in paths(STAGES[stage]["deps"]) if path.startswith("vsd_utils/")}
    run = runs(stage)
    assert len(run) >= 7
    assert {path for path in run if not declared & {path, *path.parents}} == set()
    files = {path for path in declared if path.suffix == ".py"}
    assert files <= run
    assert {path for path in declared if path.is_dir() and not any(path in file.parents for file in run)} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_files_that_lie_beside_its_modules(stage) -> None:
    declared = {ROOT / path for path in paths(STAGES[stage]["deps"]) if path.startswith("vsd_utils/")}
    beside = {path for path in PACKAGE.rglob("*.*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert {path.name for path in beside} >= {"vicuna.jinja", "smollm_wheel.txt", "spice.js"}
    read = {file for module in runs(stage) for file in beside if file.name in module.read_text(encoding="utf-8")}
    assert {path for path in read if not declared & {path, *path.parents}} == set()


def test_every_module_is_run_by_a_stage_or_a_verb() -> None:
    run = set().union(*map(runs, STAGES))
    apart = {PACKAGE / "commands" / f"{verb.module}.py" for verb in VERBS.values() if not verb.is_stage}
    apart.add(PACKAGE / "__main__.py")
    apart |= set().union(*map(imported, apart)) | notebook_runs(audit.NOTEBOOK)
    assert {path for path in PACKAGE.rglob("*.py") if path.stem != "__init__"} == run | apart


def test_one_stage_cleans_the_notebooks() -> None:
    clean = STAGES["clean"]
    assert {f"notebooks/{file}" for file in SOURCES.values()} <= {*clean["deps"]}
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
    used = [
        path
        for stage in WORKING
        for path in paths(STAGES[stage]["deps"])
        if not path.startswith(("vsd_utils/", "conf/"))
    ]
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
            if path.startswith(("vsd_utils/", "conf/")):
                assert (ROOT / path).exists()
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
def test_parameters_of_a_stage_are_parameters(stage) -> None:
    names = STAGES[stage]["params"]
    assert len(names) == len({*names})
    for name in names:
        model = Params
        for part in name.split("."):
            assert part in model.model_fields, name
            model = model.model_fields[part].annotation


@pytest.mark.parametrize("stage", SOURCES)
def test_a_notebook_stage_has_the_parameters_of_its_notebook(stage) -> None:
    names = parameter_names(NOTEBOOKS / SOURCES[stage])
    wanted = [name for name in SHARED if name in names] + [stage]
    assert STAGES[stage]["params"] == wanted


class Recorder:
    """Parameters that remember which of them were read."""

    def __init__(self, params: BaseModel, read: set[str], place: str = "") -> None:
        self._params, self._read, self._place = params, read, place

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(type(self._params), name, None)
        if isinstance(attribute, property):  # what a property reads is read too
            return attribute.fget(self)
        value = getattr(self._params, name)
        if isinstance(value, BaseModel):
            return Recorder(value, self._read, f"{self._place}{name}.")
        if name in type(self._params).model_fields:
            self._read.add(f"{self._place}{name}")
        return value


def test_the_preflight_depends_on_what_it_reads_and_nobody_else_does() -> None:
    read: set[str] = set()
    for whole in ([], ["finetune.r=null", "finetune.dtype=float32"]):
        preflight.problems(Recorder(Params.model_validate(compose(["profile=paper", *whole])), read))
    local = {"base": {"source": "folder", "name": "x"}, "refiner": {"source": "folder", "name": "y"}}
    content = compose(["profile=mini"])
    for section, changes in local.items():
        content[section] |= changes
    preflight.problems(Recorder(Params.model_validate(content), read))
    declared = STAGES["preflight"]["params"]
    assert "finetune.r" in read
    assert {name for name in read if not any(f"{name}.".startswith(f"{known}.") for known in declared)} == set()
    assert {known for known in declared if not any(f"{name}.".startswith(f"{known}.") for name in read)} == set()
    # What a run needs is looked at first, and changes no byte of what comes after.
    for stage in ("fetch", "base", "refiner"):
        assert "data/preflight.json" in STAGES[stage]["deps"]
        assert not any(name.startswith("finetune") or name.endswith("billions") for name in STAGES[stage]["params"])


@pytest.mark.parametrize("room", ["report", "evaluate"])
def test_an_edit_of_the_report_reruns_the_evaluation_alone(room) -> None:
    assert [stage for stage in WORKING if f"vsd_utils/{room}" in STAGES[stage]["deps"]] == ["provenance", "evaluate"]
    assert not any(path in paths(STAGES[stage]["deps"]) for path in outputs("evaluate") for stage in WORKING)


def test_what_python_and_the_environment_leave_is_no_change() -> None:
    ignored = (ROOT / ".dvcignore").read_text().split()
    assert {"__pycache__/", ".venv/", "work/"} <= {*ignored}
