"""Which model a stage hands to the next one: ``model.json``, a pointer to a folder or to a pinned hub repository."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, sha256, write_json
from vsd_utils.common.paths import user_path

NAME = "model.json"


class Pointer(BaseModel):
    """Content of ``model.json``.

    ``name_or_path`` is a hub repository (``source`` "hub", with its ``revision``), a folder of the user ("folder", as
    params.yaml has it: ``paths.user_path`` finds it), or "." for the folder that ``model.json`` itself lies in
    ("package": converted from a Python package, "trained": made here, "joined": made here of pretrained parts,
    "random": a stand-in that was never trained). ``sha256`` maps file names in that folder to digests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name_or_path: str
    revision: str | None
    source: Literal["package", "hub", "folder", "trained", "joined", "random"]
    sha256: dict[str, str]

    @model_validator(mode="after")
    def _hub_is_pinned(self) -> "Pointer":
        if self.source == "hub" and not self.revision:
            raise ValueError("a hub model needs a revision (a commit), or two runs may get different weights")
        return self


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Write ``<folder>/model.json``."""
    write_json(folder / NAME, pointer.model_dump())


def read_pointer(folder: Path) -> Pointer:
    """Read ``<folder>/model.json``; raises ``VsdError`` when it is missing or not such a file."""
    path = folder / NAME
    if not path.is_file():
        raise VsdError(f"{path}: no such file; run the stage that prepares this model first (dvc repro)")
    try:
        return Pointer.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "as a whole"
        raise VsdError(f"{path}: {field}: {first['msg']}; run the stage that prepares this model again") from None


def location(folder: Path) -> tuple[str, str | None]:
    """Find what ``from_pretrained`` is given for the model that ``folder`` points to: name or path, and revision.

    Raises ``VsdError`` when a folder that is pointed to is missing or a file in it is not the one that was written.
    """
    pointer = read_pointer(folder)
    if pointer.source == "hub":
        return pointer.name_or_path, pointer.revision
    path = user_path(pointer.name_or_path) if pointer.source == "folder" else folder / pointer.name_or_path
    path = path.resolve()
    if not path.is_dir():
        raise VsdError(f"{folder / NAME}: points to {path}, not a folder; mend the model's path in params.yaml")
    for name, digest in pointer.sha256.items():
        if not (path / name).is_file() or sha256(path / name) != digest:
            raise VsdError(f"{path / name}: missing or changed since it was written; run its stage again")
    return str(path), None
