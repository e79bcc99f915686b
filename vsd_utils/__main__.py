"""The ``vsd`` command: everything that people and DVC run.

    vsd --help                    # the verbs
    vsd score --help              # what one of them takes
    python -m vsd_utils score     # the same, without the environment's programs on the path

Exit status: 0 done; 1 ended with another process; 2 something the user can mend, said on standard error; others are
the verb's own; 130 interrupted.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from vsd_utils.common import environment


class Verb(NamedTuple):
    """A verb's module below ``vsd_utils.commands``, what it does in a line, and whether DVC runs it as a stage."""

    module: str
    does: str
    is_stage: bool


VERBS = {
    "profile": Verb("profile", "compose params.yaml from conf/: a profile and overrides", False),
    "preflight": Verb("preflight", "say what a run needs and lacks, all of it at once", True),
    "plan": Verb("plan", "say what a run takes: tokens, memory, disk, hours, dollars", False),
    "timings": Verb("timings", "show how long each stage took, with what memory, how fast", False),
    "mend": Verb("mend", "put right what DVC left half-written when it was killed", False),
    "score": Verb("score", "score anybody's submission files", False),
    "audit": Verb("audit", "say whether the metrics see relations, on people's captions", False),
    "study": Verb("study", "answer a question by runs that differ in one thing, as a table", False),
    "subsets": Verb("subsets", "say how hard scenes are: scores by subsets of the annotations", False),
    "vrd": Verb("vrd", "ask this checkout's models about another data set, VRD", False),
    "shortcuts": Verb("shortcuts", "say what this checkout's models lean on: scenes with a cue changed", False),
    "rewrites": Verb("rewrites", "have a person judge rewrites, blind", False),
    "compare-120k": Verb("compare_120k", "say how the authors' LLaVA-VSD-120K differs from our conversations", False),
    "export": Verb("export", "merge the adapter into the base model: a folder for a model hub or a server", False),
    "clean-notebooks": Verb("clean_notebooks", "stage: copies of the notebooks that a save does not change", True),
    "provenance": Verb("provenance", "stage: digests of the code and of the parameters", True),
    "fetch": Verb("fetch", "stage: annotations and photos, fetched where missing, checked; rendered scenes", True),
    "prepare-model": Verb("prepare_models", "stage: make or point to the base model or the refiner", True),
    "run-notebook": Verb("run_notebook", "stage: execute a notebook with the parameters of params.yaml", True),
    "report": Verb("report", "stage: copy tables and executed notebooks to reports/", True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit status; the one place where an error becomes a message."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "--help"
    if name not in VERBS:
        _overview().parse_args(words or ["--help"])  # prints help, or the error, and exits
    verb = VERBS[name]
    if verb.is_stage and arguments is None:
        environment.enter("vsd_utils")
    try:
        module = importlib.import_module(f"vsd_utils.commands.{verb.module}")
    except ModuleNotFoundError as error:
        print(
            f"error: {sys.executable} has no package {error.name!r}. Enter the project's environment: "
            ". .venv/bin/activate (make lint, or any other target of the Makefile, makes it)",
            file=sys.stderr,
        )
        return 2
    from vsd_utils.common.errors import VsdError

    parser = argparse.ArgumentParser(
        prog=f"vsd {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    given = parser.parse_args(words[1:])
    try:
        return int(module.run(given))
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130


def _overview() -> argparse.ArgumentParser:
    lines = [f"  {name:<16} {verb.does}" for name, verb in VERBS.items()]
    parser = argparse.ArgumentParser(
        prog="vsd",
        description="LLaVA-VSD, replicated. The pipeline itself is run by DVC: dvc repro, dvc exp run -S profile=mini.",
        epilog="\n".join(["verbs:", *lines, "", "vsd VERB --help says what a verb takes."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of the list below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
