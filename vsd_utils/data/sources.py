"""Where annotations and photos are fetched from: ``sources.yaml`` beside this module, or the user's file like it."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml.error import YAMLError

from vsd_utils.common.errors import VsdError
from vsd_utils.common.params import yaml_reader
from vsd_utils.common.paths import annotation_file, user_path
from vsd_utils.data.annotations import SPLITS

PACKAGED = Path(__file__).with_name("sources.yaml")
ANNOTATION_NAMES = frozenset(
    annotation_file(version, split, Path()).as_posix() for version in (1, 2) for split in SPLITS
)


def _address(text: str) -> str:
    if not text.startswith(("https://", "http://")):
        raise ValueError("is not an address that begins with https:// or http://")
    return text.rstrip("/")


def _all_six(blobs: dict[str, str]) -> dict[str, str]:
    if blobs.keys() != ANNOTATION_NAMES:
        raise ValueError(f"must name exactly {', '.join(sorted(ANNOTATION_NAMES))}")
    return blobs


Addresses = Annotated[tuple[Annotated[str, AfterValidator(_address)], ...], Field(min_length=1)]
GitBlob = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AnnotationSource(_Part):
    """Name folders that hold the six annotation files, and the git blob id of each file."""

    addresses: Addresses
    git_blobs: Annotated[dict[str, GitBlob], AfterValidator(_all_six)]


class VisualGenomeSource(_Part):
    """Name Visual Genome's list of photos, and what the two ``folders`` of photos lie in."""

    image_data: Addresses
    addresses: Addresses
    folders: Annotated[tuple[str, ...], Field(min_length=1)]


class SpatialSenseSource(_Part):
    """Name the record of Zenodo, and copies of it, whose archives hold all other photos."""

    records: Addresses


class Sources(_Part):
    """Hold the whole file."""

    annotations: AnnotationSource
    visual_genome: VisualGenomeSource
    spatialsense: SpatialSenseSource


def read_sources(written: str | None) -> Sources:
    """Read the file that the parameter ``fetch.sources`` names, the packaged one for None.

    Raises ``VsdError`` with every entry that is wrong.
    """
    path = PACKAGED if written is None else user_path(written)
    try:
        return Sources.model_validate(yaml_reader().load(path))
    except FileNotFoundError:
        raise VsdError(f"{path}: no such file. Set fetch.sources to a file like {PACKAGED}, or to null") from None
    except (YAMLError, OSError, UnicodeDecodeError) as error:
        raise VsdError(f"{path}: cannot be read as YAML ({error})") from None
    except ValidationError as error:
        named = [(".".join(map(str, one["loc"])) or "the file", one["msg"]) for one in error.errors(include_url=False)]
        lines = [f"{path}: {place}: {said.removeprefix('Value error, ')}" for place, said in named]
        raise VsdError("\n".join([*lines, f"{PACKAGED} shows what is expected."])) from None
