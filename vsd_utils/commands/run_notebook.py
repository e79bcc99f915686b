"""The pipeline's notebooks: cleaned before a run, executed with checked parameters, the same bytes from two runs.

DVC depends on the cleaned copy of a notebook, so that opening and saving the source never reruns a stage. The executed
copy goes to ``data/executed``, as a notebook and as HTML, and the notebook from there to ``reports/notebooks``.
"""

import argparse
import re
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

import nbformat

from vsd_utils.commands import stage
from vsd_utils.common import progress
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import replacing, write_text
from vsd_utils.common.params import SHARED, load
from vsd_utils.common.paths import CLEAN_NOTEBOOKS, EXECUTED_NOTEBOOKS, NOTEBOOKS, ROOT, SETTINGS, WORK
from vsd_utils.common.sections import Params

SOURCES = {
    "convert": "01_convert_data.ipynb",
    "finetune": "02_finetune.ipynb",
    "describe": "03_describe.ipynb",
    "refine": "04_refine.ipynb",
    "evaluate": "05_evaluate.ipynb",
}
KEPT_METADATA = {"tags"}
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
# What Python calls a cell's code in warnings; the temporary folder may have a space in its name.
_CELL_FILE = re.compile(rf"(?:{re.escape(tempfile.gettempdir())}|\S*)[/\\]ipykernel_\d+[/\\]\d+\.py")


def clean(notebook: Any) -> Any:
    """Drop what a reader's session leaves in a notebook: outputs, counts, metadata but for tags, kernel version."""
    from nbconvert.preprocessors import ClearOutputPreprocessor

    notebook, _ = ClearOutputPreprocessor().preprocess(notebook, {})
    # Of every cell, not of code alone, as nbconvert's own preprocessor for metadata does.
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_METADATA}
        cell.id = f"cell-{number:02d}"
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def parameter_names(path: Path) -> list[str]:
    """List the names that papermill finds in the one cell tagged ``parameters``.

    Raises ``VsdError`` unless there is exactly one: papermill takes the first of several, and none for no parameters.
    """
    import papermill

    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise VsdError(f"{path}: a notebook needs one cell tagged 'parameters', found {len(tagged)}")
    return list(papermill.inspect_notebook(str(path)))


def check_parameters(stage: str, names: list[str], given: dict[str, Any]) -> None:
    """Raise ``VsdError`` naming every parameter that the notebook does not take, or takes and is not given."""
    unknown, missing = sorted(given.keys() - set(names)), sorted(set(names) - given.keys())
    problems = [f"params.yaml has {stage}.{name}, which {SOURCES[stage]} does not take" for name in unknown]
    problems += [
        f"{SOURCES[stage]} takes {name}, which params.yaml, section {stage}, does not have" for name in missing
    ]
    if problems:
        raise VsdError("\n".join(problems))


def execute(stage: str, parameters: Params) -> None:
    """Execute a stage's notebook with papermill; on an error the notebook so far stays in ``work/executed``."""
    source = CLEAN_NOTEBOOKS / f"{stage}.ipynb"
    if not source.is_file():
        raise VsdError(f"{source}: no such file. Run the stage with DVC: dvc repro {stage}")
    names = parameter_names(source)
    given = {name: getattr(parameters, name) for name in SHARED if name in names}
    own = getattr(parameters, stage).variables()
    given |= {name: value for name, value in own.items() if name not in SHARED or value is not None}
    check_parameters(stage, names, given)
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    execute_file(source, EXECUTED_NOTEBOOKS / SOURCES[stage], given)


def execute_file(source: Path, target: Path, given: dict[str, Any]) -> None:
    """Execute a notebook with papermill and write it, normalised, to ``target`` and beside it as HTML.

    On an error the notebook so far stays in ``work/executed``; raises ``VsdError`` that says where in it and why.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    from vsd_utils.commands.jupyter import KernelManager

    unfinished = WORK / "executed" / target.name
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.mkdir(parents=True, exist_ok=True)  # IPython makes its own folder only in one that is there
    try:
        papermill.execute_notebook(
            source,
            unfinished,
            given,
            kernel_name="python3",
            kernel_manager_class=KernelManager,
            cwd=NOTEBOOKS,
            progress_bar=False,
            log_output=False,
            extra_arguments=[
                "--log-level=CRITICAL",  # or a kernel speaks of its connection and of its end
                "--IPKernelApp.exec_lines=from vsd_utils.common import lifetime; lifetime.end_with_parent()",
                # A matplotlibrc beside the notebook counts whatever the variables say.
                "--IPKernelApp.exec_lines=import matplotlib; matplotlib.rcdefaults()",
            ],
        )
    except PapermillExecutionError as error:
        raise VsdError(
            f"{target.name}, {_heading(source, error.cell_index)}: {error.ename}: {error.evalue}\n"
            f"The notebook as far as it got: {unfinished.relative_to(ROOT)}"
        ) from None
    executed = normalise(nbformat.read(unfinished, as_version=4))
    with replacing(target) as temporary:
        nbformat.write(executed, temporary)
    write_text(target.with_suffix(".html"), as_html(executed))
    unfinished.unlink()


def normalise(notebook: Any) -> Any:
    """Remove what differs between two runs of one notebook: times, memory addresses, how streams were cut in pieces.

    Also lines of progress, and the random id of the injected cell.
    """
    notebook.metadata.pop("papermill", None)
    for number, cell in enumerate(notebook.cells):
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs = _whole_streams(cell.outputs)
            for output in cell.outputs:
                if "text/plain" in output.get("data", {}):
                    output["data"]["text/plain"] = _ADDRESS.sub("", output["data"]["text/plain"])
    return notebook


def _whole_streams(outputs: list[Any]) -> list[Any]:
    # Between two displays: all of stdout, then all of stderr. How the two interleave depends on when they were flushed.
    kept: list[Any] = []
    for is_stream, group in groupby(outputs, key=lambda output: output.output_type == "stream"):
        pieces = list(group)
        if not is_stream:
            kept += pieces
            continue
        for name in ("stdout", "stderr"):
            text = "".join(piece.text for piece in pieces if piece.name == name)
            if text := progress.LINE.sub("", text) if name == "stderr" else text:
                kept.append(
                    nbformat.v4.new_output("stream", name=name, text=_ADDRESS.sub("", _CELL_FILE.sub("cell", text)))
                )
    return kept


def as_html(notebook: Any) -> str:
    """Render the executed notebook as one HTML page."""
    from vsd_utils.commands.jupyter import Page

    body, _ = Page(embed_images=True, extra_template_basedirs=[]).from_notebook_node(notebook)
    return str(body)


def _heading(source: Path, cell_index: int) -> str:
    # papermill counts the parameters it injected as one more cell.
    cells = nbformat.read(source, as_version=4).cells[:cell_index]
    headings = [
        line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines() if line[:1] == "#"
    ]
    return f"under {headings[-1].lstrip('# ')!r}" if headings else "before the first heading"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the stage whose notebook is run."""
    parser.add_argument("stage", choices=SOURCES)


def run(given: argparse.Namespace) -> int:
    """Run the stage."""
    params = load()
    with stage.running(given.stage):
        execute(given.stage, params)
    return 0
