"""The pipeline's notebooks: cleaned before a run, executed with checked parameters, the same bytes from two runs.

DVC depends on the cleaned copy of a notebook, so that opening and saving the source never reruns a stage. The executed
copy goes to ``data/executed``, as a notebook and as HTML, and from there to ``reports/notebooks``.

    python -m vsd_utils.notebooks clean          # notebooks/01_convert_data.ipynb -> data/notebooks/convert.ipynb, ...
    python -m vsd_utils.notebooks run convert    # with params.yaml -> data/executed/01_convert_data.ipynb
"""

import ast
import re
import sys
import tempfile
from itertools import groupby
from pathlib import Path
from typing import Any

# nbformat's validator would build a whole parser for international addresses, which no notebook's schema asks for: more
# than a second in each stage.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

import nbformat  # noqa: E402

from vsd_utils import environment, imports, lifetime, progress, work_lock  # noqa: E402
from vsd_utils.errors import VsdError  # noqa: E402
from vsd_utils.files import replacing, write_text  # noqa: E402
from vsd_utils.params import SHARED, load  # noqa: E402
from vsd_utils.paths import (  # noqa: E402
    BASE_MODEL,
    CLEAN_NOTEBOOKS,
    EXECUTED_NOTEBOOKS,
    NOTEBOOKS,
    REFINER_MODEL,
    ROOT,
    SETTINGS,
    WORK,
)

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
    for number, cell in enumerate(notebook.cells):
        cell.metadata = {key: value for key, value in cell.metadata.items() if key in KEPT_METADATA}
        cell.id = f"cell-{number:02d}"
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


def parameter_names(notebook: Any) -> list[str]:
    """Names assigned in the one cell tagged ``parameters``; raises ``VsdError`` unless there is exactly one."""
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise VsdError(f"a notebook needs one cell tagged 'parameters', found {len(tagged)}")
    assignments = [node for node in ast.parse(tagged[0].source).body if isinstance(node, ast.Assign)]
    return [target.id for node in assignments for target in node.targets if isinstance(target, ast.Name)]


def check_parameters(stage: str, names: list[str], given: dict[str, Any]) -> None:
    """Raise ``VsdError`` naming every parameter that the notebook does not take, or takes and is not given."""
    unknown, missing = sorted(given.keys() - set(names)), sorted(set(names) - given.keys())
    problems = [f"params.yaml has {stage}.{name}, which {SOURCES[stage]} does not take" for name in unknown]
    problems += [
        f"{SOURCES[stage]} takes {name}, which params.yaml, section {stage}, does not have" for name in missing
    ]
    if problems:
        raise VsdError("\n".join(problems))


def run(stage: str) -> None:
    """Execute a stage's notebook with papermill; on an error the notebook so far stays in ``work/executed``."""
    params = load().model_dump()
    source = CLEAN_NOTEBOOKS / f"{stage}.ipynb"
    if not source.is_file():
        raise VsdError(f"{source}: no such file. Run the stage with DVC: dvc repro {stage}")
    names = parameter_names(nbformat.read(source, as_version=4))
    given = {name: params[name] for name in SHARED if name in names} | params[stage]
    check_parameters(stage, names, given)

    import papermill
    from papermill.exceptions import PapermillExecutionError

    from vsd_utils.jupyter import KernelManager

    target, unfinished = EXECUTED_NOTEBOOKS / SOURCES[stage], WORK / "executed" / SOURCES[stage]
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    SETTINGS.mkdir(parents=True, exist_ok=True)  # IPython makes its own folder only in one that is there
    model = REFINER_MODEL if stage == "refine" else BASE_MODEL
    quantized = imports.may_be_quantized(given.get("quantization", "none"), model)
    given = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
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
                f"--IPKernelApp.exec_lines=from vsd_utils import imports, lifetime; lifetime.end_with_parent(); "
                f"imports.lighten(quantized={quantized})",
                # A matplotlibrc beside the notebook counts whatever the variables say.
                "--IPKernelApp.exec_lines=import matplotlib; matplotlib.rcdefaults()",
            ],
        )
    except PapermillExecutionError as error:
        raise VsdError(
            f"{SOURCES[stage]}, {_heading(source, error.cell_index)}: {error.ename}: {error.evalue}\n"
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
    """The executed notebook as one HTML page."""
    from vsd_utils.jupyter import Page

    body, _ = Page(embed_images=True, extra_template_basedirs=[]).from_notebook_node(notebook)
    return str(body)


def _heading(source: Path, cell_index: int) -> str:
    # papermill counts the parameters it injected as one more cell.
    cells = nbformat.read(source, as_version=4).cells[:cell_index]
    headings = [
        line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines() if line[:1] == "#"
    ]
    return f"under {headings[-1].lstrip('# ')!r}" if headings else "before the first heading"


def main() -> None:
    """Command line; see the module's description."""
    lifetime.end_with_dvc()
    if sys.argv[1:] == ["clean"]:
        CLEAN_NOTEBOOKS.mkdir(parents=True, exist_ok=True)
        for stage, name in SOURCES.items():
            with replacing(CLEAN_NOTEBOOKS / f"{stage}.ipynb") as temporary:
                nbformat.write(clean(nbformat.read(NOTEBOOKS / name, as_version=4)), temporary)
    elif len(sys.argv) == 3 and sys.argv[1] == "run" and sys.argv[2] in SOURCES:
        with work_lock.held(sys.argv[2]):
            run(sys.argv[2])
    else:
        sys.exit(f"usage: python -m vsd_utils.notebooks clean | run {'|'.join(SOURCES)}")


if __name__ == "__main__":
    environment.enter("vsd_utils.notebooks")
    try:
        main()
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
