"""The notebooks: what lies in the repository, and that running one twice gives the same bytes."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from ruamel.yaml import YAML

from vsd_utils.commands import audit
from vsd_utils.commands.jupyter import KernelManager
from vsd_utils.commands.run_notebook import SOURCES, as_html, check_parameters, clean, normalise, parameter_names
from vsd_utils.common.environment import settled
from vsd_utils.common.errors import VsdError
from vsd_utils.common.params import SHARED
from vsd_utils.common.paths import NOTEBOOKS, ROOT
from vsd_utils.common.profiles import compose
from vsd_utils.common.progress import LINE
from vsd_utils.common.sections import Params
from vsd_utils.common.values import FURTHER

NAMES = (*SOURCES.values(), audit.NOTEBOOK)


def read(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / name, as_version=4)


def source(stage: str) -> Any:
    return read(SOURCES[stage])


def test_the_folder_holds_the_notebooks_of_the_stages_and_of_the_audit_and_nothing_else() -> None:
    assert len(SOURCES) == 5
    assert sorted(path.name for path in NOTEBOOKS.rglob("*") if ".ipynb_checkpoints" not in path.parts) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_clean_and_explains_itself(name) -> None:
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.cells == clean(read(name)).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {name[1]}. ")
    rows = [line.split("|")[1].strip() for line in first.source.splitlines() if line.startswith("|")]
    assert {"reads", "writes", "needs"} <= {*rows}
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    # Times are given where they are measured (README.md), counts come from the data.
    assert not re.search(r"\b(second|minute|hour)s?\b|\b\d+ (images|photos)\b", "\n".join(texts), re.IGNORECASE)
    assert any("examples" in text.lower() for text in texts)


@pytest.mark.parametrize("stage", SOURCES)
def test_a_notebook_takes_exactly_its_parameters(stage) -> None:
    section = Params.model_fields[stage].annotation.model_fields
    notebook = source(stage)
    used = " ".join(cell.source for cell in notebook.cells if "parameters" not in cell.metadata.get("tags", []))
    taken = parameter_names(NOTEBOOKS / SOURCES[stage])
    shared = [name for name in taken if name in SHARED]
    further = [FURTHER] if stage == "finetune" else []
    assert parameter_names(NOTEBOOKS / SOURCES[stage]) == [
        *(name for name in SHARED if name in shared),
        *(name for name in section if name not in SHARED),
        *further,
    ]
    # A shared parameter that is only taken would rerun the stage for nothing; finetune and refine hand all of p on.
    assert [name for name in shared if f'p["{name}"]' not in used and stage not in ("finetune", "refine")] == []
    (cell,) = [cell for cell in notebook.cells if cell.metadata.get("tags") == ["parameters"]]
    values = [node.value.value for node in ast.parse(cell.source).body]
    assert values == [...] * len(values)
    assert f'params.given("{stage}", globals())' in notebook.cells[notebook.cells.index(cell) + 1].source


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_only_calls_the_package(name) -> None:
    code = [cell.source for cell in read(name).cells if cell.cell_type == "code"]
    assert len(code) >= 5
    for text in code:
        tree = ast.parse(text)  # fails on `!` and `%` lines too
        kinds = {type(node) for node in ast.walk(tree)}
        assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef}
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert not names & {"chdir", "run_line_magic", "get_ipython", "filterwarnings", "simplefilter"}
        assert "pip install" not in text


def test_cleaning_takes_what_a_session_leaves_and_keeps_the_rest() -> None:
    notebook = new_notebook(
        metadata={
            "language_info": {"name": "python", "version": "3.11.2"},
            "kernelspec": {"name": "mine", "display_name": "Mine"},
            "toc": {},
        },
        cells=[
            new_markdown_cell("# 1", metadata={"collapsed": True}),
            new_code_cell(
                "seed = ...",
                metadata={
                    "tags": ["parameters"],
                    "scrolled": True,
                    "execution": {"iopub.status.busy": "2024-08-01T10:00:00Z"},
                },
                execution_count=7,
                outputs=[new_output("stream", name="stdout", text="x")],
            ),
        ],
    )
    once = nbformat.writes(clean(notebook))
    assert once == nbformat.writes(clean(nbformat.reads(once, as_version=4)))
    cells = nbformat.reads(once, as_version=4).cells
    assert [cell.source for cell in cells] == ["# 1", "seed = ..."]
    assert (cells[1].outputs, cells[1].execution_count, cells[1].metadata) == ([], None, {"tags": ["parameters"]})
    assert cells[0].metadata == {}
    for left in ("3.11.2", "mine", "toc", "scrolled"):
        assert left not in once


def test_parameters_that_do_not_meet(tmp_path) -> None:
    with pytest.raises(VsdError) as caught:
        check_parameters("convert", ["seed", "width"], {"seed": 0, "box_width": 1})
    assert str(caught.value).splitlines() == [
        "params.yaml has convert.box_width, which 01_convert_data.ipynb does not take",
        "01_convert_data.ipynb takes width, which params.yaml, section convert, does not have",
    ]
    tagged = {"metadata": {"tags": ["parameters"]}}
    for cells in ([], [new_code_cell("a = ...", **tagged), new_code_cell("b = ...", **tagged)]):
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebook.ipynb")
        with pytest.raises(VsdError, match=f"one cell tagged 'parameters', found {len(cells)}"):
            parameter_names(tmp_path / "notebook.ipynb")


def test_streams_however_they_were_cut() -> None:
    def ran(*outputs: Any) -> str:
        return nbformat.writes(normalise(new_notebook(cells=[new_code_cell("run()", outputs=list(outputs))])))

    def out(text: str) -> Any:
        return new_output("stream", name="stdout", text=text)

    def err(process: int, text: str = "") -> Any:
        where = f"/any/ipykernel_{process}/{process * 7}.py:1: UserWarning: {text}\n"
        return new_output("stream", name="stderr", text=where)

    table = new_output("display_data", data={"text/plain": "<Table at 0x7f00>"})
    whole = ran(out("one\ntwo\n"), err(12), table, out("three <Map object at 0x7f01>"))
    moved = new_output("display_data", data={"text/plain": "<Table at 0x8fff>"})
    assert ran(out("one\n"), err(3456), out("two\n"), moved, out("three <Map"), out(" object at 0x9999>")) == whole
    assert "cell:1: UserWarning" in whole
    assert "ipykernel" not in whole
    assert "0x" not in whole
    assert ran(out("three"), table, out("one\ntwo\n")) != whole  # what stood before a table stays before it


PARAMETERS = "\n".join(f"{name} = ..." for name in parameter_names(NOTEBOOKS / SOURCES["convert"]))
WORK = """
import os
import random
import sys
import time
import warnings
import matplotlib.pyplot as plt
import pandas as pd
from vsd_utils.common import params
from vsd_utils.common import progress
p = params.given("convert", globals())
for number in range(200):
    print(number, flush=True)
    print("note", number, file=sys.stderr, flush=True)
warnings.warn("be careful")
progress.SECONDS_BETWEEN_LINES = 0.0
for step in progress.steps(range(2), "work", 3, done=1):
    time.sleep(0.3 * random.random())
print(object(), {"b", "a", "c"})
print(sorted(name for name in os.environ if not name.startswith("JPY_")))
print(time.strftime("%H:%M", time.localtime(0)), os.environ["HF_TOKEN"], __debug__, len(sys.warnoptions))
plt.plot([1, 3, 2])
plt.show()
pd.Series(p, name="value").to_frame()
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the package where a small notebook stands for the stage `convert`."""
    root = tmp_path_factory.mktemp("checkout")
    for name in ("vsd_utils", "conf"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("notebooks", "data/notebooks"):
        (root / name).mkdir(parents=True)
    YAML(typ="safe", pure=True).dump(compose(["profile=mini"]), root / "params.yaml")
    return root


@pytest.fixture
def hostile(tmp_path) -> dict[str, str]:
    """Variables and a home folder in which whatever can be set is set to something else."""
    home, code = tmp_path / "home", tmp_path / "code"
    starts_nothing = json.dumps({"argv": ["/no/such/python"], "display_name": "Mine", "language": "python"})
    ugly = "figure.dpi: 200\naxes.facecolor: black\nno.such.key: 1\n"
    files = {
        "home/.local/share/jupyter/kernels/python3/kernel.json": starts_nothing,
        "jupyter/kernels/python3/kernel.json": starts_nothing,
        "home/.local/share/jupyter/nbconvert/templates/lab/index.html.j2": "mine",
        "jupyter/nbconvert/templates/lab/index.html.j2": "mine",
        "home/.jupyter/jupyter_nbconvert_config.py": "c.HTMLExporter.exclude_input = True",
        "home/.ipython/profile_default/startup/00.py": "print('mine')\nopen = None",
        "home/.ipython/profile_default/ipython_kernel_config.py": "c.InlineBackend.figure_formats = ['svg']",
        "home/.config/matplotlib/matplotlibrc": ugly,
        "mpl/matplotlibrc": "text.usetex: True",
        "code/sitecustomize.py": "import warnings\nwarnings.simplefilter('ignore')",
        "code/pandas.py": "raise ImportError('another pandas')",
        "code/papermill.py": "raise ImportError('another papermill')",
        "code/start.py": "raise ImportError('start-up')",
        "a space/matplotlibrc": ugly,
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return {
        "HOME": str(home),
        "TMPDIR": str(tmp_path / "a space"),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(home / ".jupyter"),
        "JUPYTER_RUNTIME_DIR": "/no/such/folder",
        "IPYTHONDIR": str(home / ".ipython"),
        "IPYKERNEL_CELL_NAME": "mine",
        "MPLCONFIGDIR": str(tmp_path / "mpl"),
        "MATPLOTLIBRC": str(home / ".config/matplotlib/matplotlibrc"),
        "MPLBACKEND": "pdf",
        "PYTHONPATH": str(code),
        "PYTHONSTARTUP": str(code / "start.py"),
        "PYTHONHASHSEED": "7",
        "PYTHONOPTIMIZE": "1",
        "PYTHONWARNINGS": "error",
        "PYTHONIOENCODING": "latin-1",
        **dict.fromkeys(("LC_ALL", "LANG", "LC_NUMERIC"), "de_DE.UTF-8"),
        "TZ": "Asia/Tokyo",
        **dict.fromkeys(("COLUMNS", "LINES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "FORCE_COLOR", "NO_COLOR"), "7"),
        "TERM": "dumb",
        "TRANSFORMERS_VERBOSITY": "debug",
        "TOKENIZERS_PARALLELISM": "true",
        "CUBLAS_WORKSPACE_CONFIG": ":16:8",
        "PANDAS_FUTURE_INFER_STRING": "0",
    }


def run(
    checkout: Path, work: str, parameters: str = PARAMETERS, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a notebook by the command that the pipeline calls."""
    notebook = new_notebook(
        cells=[
            new_markdown_cell("# Small"),
            new_code_cell(parameters, metadata={"tags": ["parameters"]}),
            new_markdown_cell("## The work\n\nHere #1 happens."),
            new_code_cell(work),
        ]
    )
    nbformat.write(clean(notebook), checkout / "data/notebooks/convert.ipynb")
    command = [sys.executable, "-m", "vsd_utils", "run-notebook", "convert"]
    variables = {"PATH": os.environ["PATH"]} | (variables or {})
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, env=variables)


def test_a_run_gives_the_same_bytes_whatever_the_environment_holds(checkout, tmp_path, hostile) -> None:
    executed = checkout / "data/executed" / SOURCES["convert"]
    bare = {name: str(tmp_path) for name in ("HOME", "TMPDIR")}
    found = []
    for variables in (bare, hostile):
        if variables is hostile:  # and what lies in the working folders
            shutil.copytree(tmp_path / "jupyter/nbconvert/templates/lab", checkout / "lab")
            shutil.copy(tmp_path / "mpl/matplotlibrc", checkout / "notebooks")
        done = run(checkout, WORK, variables=variables | {"HF_TOKEN": "passed-on"})
        assert done.returncode == 0, done.stderr
        # Progress is for whoever waits: on the terminal, not in the executed notebook.
        assert done.stderr.splitlines()[0] == "work: goes on after 1 of 3"
        assert LINE.sub("", done.stderr) == ""
        found.append([executed.read_bytes(), executed.with_suffix(".html").read_bytes()])
        executed.unlink()
    assert found[0] == found[1]
    notebook = nbformat.reads(found[0][0].decode(), as_version=4)
    streams, error, figure, table = notebook.cells[-1].outputs
    assert streams.text.startswith("".join(f"{number}\n" for number in range(200)) + "<object object")
    assert "UserWarning: be careful" in error.text
    assert "image/png" in figure.data
    assert "box_width" in table.data["text/html"]
    injected = [cell.source for cell in notebook.cells if cell.metadata.get("tags") == ["injected-parameters"]]
    assert "box_width = 0.016" in injected[0]
    assert "draw_boxes = True" in injected[0]
    page = found[0][1].decode()
    assert "be careful" in page
    for text in (found[0][0].decode(), page):
        assert "goes on after" not in text
        assert str(checkout) not in text


def test_kernels_and_templates_that_others_installed_are_not_taken(hostile, monkeypatch) -> None:
    page = as_html(new_notebook())
    monkeypatch.setenv("JUPYTER_PATH", hostile["JUPYTER_PATH"])
    assert HTMLExporter().from_notebook_node(new_notebook())[0] == "mine"
    assert as_html(new_notebook()) == page
    assert AsyncKernelManager(kernel_name="python3").kernel_spec.argv[0] == "/no/such/python"
    assert KernelManager(kernel_name="python3").kernel_spec.argv[0] == sys.executable


def test_what_a_user_needs_is_passed_on() -> None:
    needed = (
        *(
            "PATH",
            "HOME",
            "TMPDIR",
            "LD_LIBRARY_PATH",
            "JAVA_HOME",
            "VSD_CACHE",
            "CUDA_VISIBLE_DEVICES",
            "SSL_CERT_FILE",
        ),
        *("HF_TOKEN", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "https_proxy", "HTTPS_PROXY", "UV_INDEX_URL"),
        *("CUDA_VISIBLE_DEVICES", "DVC_EXP_NAME", "DVC_STUDIO_TOKEN", "GIT_CONFIG_GLOBAL"),
    )
    given = {name: f"of {name}" for name in needed}
    found = settled(given | {"OMP_NUM_THREADS": "7", "HF_HUB_VERBOSITY": "debug", "PYTHONPATH": "/mine"})
    assert found == settled({}) | given
    assert not settled({}).keys() & given.keys()
    assert settled(found) == found


def test_an_error_names_notebook_heading_and_cause(checkout) -> None:
    done = run(checkout, "from vsd_utils.common.errors import VsdError\nraise VsdError('val.json: no such file')")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: 01_convert_data.ipynb, under 'The work': VsdError: val.json: no such file",
        "The notebook as far as it got: work/executed/01_convert_data.ipynb",
    ]
    assert (checkout / "work/executed" / SOURCES["convert"]).is_file()
    assert not (checkout / "data/executed" / SOURCES["convert"]).exists()


def test_a_parameter_that_the_notebook_does_not_take_stops_the_run(checkout) -> None:
    done = run(checkout, "open('ran', 'w')", PARAMETERS.replace("box_width", "box_widht"))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: params.yaml has convert.box_width, which 01_convert_data.ipynb does not take",
        "01_convert_data.ipynb takes box_widht, which params.yaml, section convert, does not have",
    ]
    assert not (checkout / "notebooks/ran").exists()
