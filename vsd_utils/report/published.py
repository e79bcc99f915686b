"""The figures that others published (``published.yaml``), and the table that sets ours beside them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from vsd_utils.common.errors import VsdError

PUBLISHED = Path(__file__).with_name("published.yaml")
Score = Literal["bleu4", "meteor", "rouge_l", "cider", "spice", "accuracy", "overall"]
Data = Literal["VSDv1 test", "VSDv2 test", "challenge"]
COLUMNS: dict[Data, tuple[Score, ...]] = {
    "VSDv1 test": ("bleu4", "meteor", "rouge_l", "cider", "spice", "accuracy"),
    "VSDv2 test": ("bleu4", "meteor", "rouge_l", "cider", "spice"),
    "challenge": ("overall",),
}


class PublishedSystem(BaseModel):
    """One row: scores of a system on one set of references, with source, reading and scale (100: 0 to 100)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: Annotated[str, Field(min_length=1)]
    data: Data
    source: Annotated[str, Field(min_length=1)]
    reading: Annotated[str, Field(min_length=1)]
    scale: Literal[1, 100]
    scores: dict[Score, Annotated[float, Field(ge=0, le=1000)] | None]
    note: str = ""
    missing: str = ""


def load_published(path: Path = PUBLISHED) -> list[PublishedSystem]:
    """Read the rows of the file, in its order. Raises ``VsdError`` naming row and field."""
    try:
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
        rows = content["systems"]
        systems = [PublishedSystem.model_validate(row) for row in rows]
    except FileNotFoundError:
        raise VsdError(f"{path}: no such file") from None
    except (YAMLError, KeyError, TypeError) as error:
        raise VsdError(f"{path}: expected YAML with a list named systems ({error})") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field, found = ".".join(map(str, problem["loc"])), repr(problem["input"])[:80]
        raise VsdError(f"{path}: a system's {field or 'entry'}: {problem['msg']}, found {found}") from None
    for row in systems:
        if all(value is None for value in row.scores.values()) and not row.missing:
            raise VsdError(f"{path}: {row.system} on {row.data} has no scores; say in 'missing' why")
    return systems


def comparison_table(
    data: Data, ours: Mapping[str, Mapping[str, Any]] | None = None, published: list[PublishedSystem] | None = None
) -> pd.DataFrame:
    """List published rows on ``data``, then ``ours`` (name to what the scoring command wrote), on 0 to 100.

    One row a system, NaN where there is no figure; the last columns are source, reading and note (why a row is empty).
    For "VSDv1 test" our columns are task 2's and relation accuracy, for "VSDv2 test" task 3's (mean of its three
    sentences), for "challenge" overall in the code reading, F1 macro, mBLEU-4 by rank; the note says which and on how
    many images. Whether ours were computed on that data is the caller's to know.
    """
    columns = COLUMNS[data]
    rows: list[dict[str, Any]] = []
    for system in load_published() if published is None else published:
        if system.data == data:
            factor = 100 / system.scale
            values = {name: None if (v := system.scores.get(name)) is None else v * factor for name in columns}
            note = system.missing if system.missing else system.note
            rows.append({"system": system.system} | values | _text(system.source, system.reading, note))
    for name, scores in (ours or {}).items():
        rows.append({"system": name} | _own(data, columns, scores))
    frame = pd.DataFrame(rows, columns=["system", *columns, "source", "reading", "note"])
    return frame.astype(dict.fromkeys(columns, "float64"))


def _own(data: Data, columns: tuple[Score, ...], scores: Mapping[str, Any]) -> dict[str, Any]:
    if data == "challenge":
        values = {"overall": scores["z"]["code"].get("overall_macro_by_rank")}
        reading, task = "code; F1 macro, mBLEU-4 by rank", ""
    else:
        task = "task2" if data == "VSDv1 test" else "task3"
        values = {name: scores["task1" if name == "accuracy" else task].get(name) for name in columns}
        reading = "corpus BLEU-4, SPICE with all references together"
    missing = scores["not_computed"]
    absent = [name for name, value in values.items() if value is None]
    reasons = {missing.get(f"{task}.{name}") or missing.get(task) or "not computed" for name in absent}
    images = f"{max(scores['task2']['n'], scores['task3']['n']):,} images"
    note = "; ".join([images, *(["mean of three sentences"] if task == "task3" else []), *sorted(reasons)])
    return values | _text("this run", reading, note)


def _text(source: str, reading: str, note: str) -> dict[str, str]:
    return {"source": source, "reading": reading, "note": note}
