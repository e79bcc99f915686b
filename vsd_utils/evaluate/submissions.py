"""The challenge's submission files: ``task1-2.json`` and ``task3.json`` (ACM MM 2024, Visual Spatial Description).

``task1-2.json`` is a list of ``{"img_id", "triple_list": [{"s", "o", "p", "s_bbox", "o_bbox"}], "description": [one
sentence]}`` with ``p`` the predicted relation, ``task3.json`` of ``{"img_id", "description": [three sentences]}``. An
empty ``p`` stands for an answer that is none of the nine relations, and counts as wrong; an empty sentence is a
sentence. A file is checked as a whole, and every problem is reported with its place.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from vsd_utils.common.errors import VsdError, shown
from vsd_utils.common.files import read_json, write_json
from vsd_utils.data.annotations import RELATIONS, Item

FILE_NAMES = ("task1-2.json", "task3.json")
SENTENCES = {1: 1, 2: 1, 3: 3}
_SHOWN = 20

PairKey = tuple[str, str, tuple[int, ...], tuple[int, ...]]


class SubmissionError(VsdError):
    """A submission that does not fit its references; ``problems`` has one line for each problem, with its place."""

    def __init__(self, path: Path | str, problems: Sequence[str]) -> None:
        """The text shows the first 20 problems and how many more there are."""
        self.problems = list(problems)
        shown = "".join(f"\n  - {problem}" for problem in self.problems[:_SHOWN])
        more = f"\n  ... and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
        count = len(self.problems)
        super().__init__(f"{path}: {count} problem{'s' if count > 1 else ''}, nothing was scored{shown}{more}")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Coordinates = tuple[int, int, int, int]
Label = Literal[
    "on", "in", "next to", "under", "above", "behind", "in front of", "to the left of", "to the right of", ""
]


class PredictedTriple(BaseModel):
    """A pair of objects with the predicted relation ``p``, empty when the answer was none of the nine."""

    model_config = ConfigDict(frozen=True)

    s: StrictStr
    o: StrictStr
    p: Label
    s_bbox: Coordinates
    o_bbox: Coordinates

    @property
    def pair(self) -> PairKey:
        """Tell pairs of one image apart by both names and both boxes."""
        return (self.s, self.o, self.s_bbox, self.o_bbox)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    img_id: Annotated[str, Field(min_length=1)]


class ClassifiedEntry(_Entry):
    """One image of ``task1-2.json``."""

    triple_list: Annotated[tuple[PredictedTriple, ...], Field(min_length=1)]
    description: Annotated[tuple[StrictStr, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=1)]


class DescribedEntry(_Entry):
    """One image of ``task3.json``."""

    description: Annotated[tuple[StrictStr, ...], Field(min_length=3, max_length=3)]


def read_submission(path: Path, task: Literal["1-2", "3"], references: Sequence[Item]) -> list[Any]:
    """Read the entries of one file, in the order of ``references`` (which must have all its images, and no others).

    ``ClassifiedEntry`` for task "1-2", ``DescribedEntry`` for "3". Raises ``SubmissionError`` with all problems found,
    ``VsdError`` when the file is no JSON list.
    """
    return check_submission(read_images(path), path, task, references)


def read_images(path: Path) -> list[Any]:
    """Read the unchecked entries of a submission file; raises ``VsdError`` when it is no JSON list."""
    content = read_json(path)
    if not isinstance(content, list):
        raise SubmissionError(path, [f"expected a JSON list of images, found {shown(content)}"])
    return content


def predicted_images(content: Sequence[Any]) -> set[str]:
    """List the ids of the images that a submission's entries predict; an entry without a valid id has none."""
    return {img_id for raw in content if (img_id := _id_of(raw)) is not None}


def check_submission(
    content: Sequence[Any], path: Path, task: Literal["1-2", "3"], references: Sequence[Item]
) -> list[Any]:
    """Do what ``read_submission`` does, of ``content`` that was read from ``path``."""
    kind: type[ClassifiedEntry] | type[DescribedEntry] = ClassifiedEntry if task == "1-2" else DescribedEntry
    items = {item.img_id: item for item in references}
    problems: list[str] = []
    entries: dict[str, Any] = {}
    places: dict[str, int] = {}
    for number, raw in enumerate(content):
        img_id = _id_of(raw)
        where = f"item {number}" + (f" (img_id {shown(img_id)})" if img_id is not None else "")
        if img_id in places:
            problems.append(f"{where}: duplicate img_id, first in item {places[img_id]}")
            continue
        if img_id is not None:
            places[img_id] = number
            if img_id not in items:
                problems.append(f"{where}: the references have no such image")
                continue
        try:
            entry = kind.model_validate(raw)
        except ValidationError as error:
            problems += [f"{where}, {problem}" for problem in _described(error)]
            continue
        if isinstance(entry, ClassifiedEntry):
            problems += [f"{where}, {problem}" for problem in _pair_problems(entry, items[entry.img_id])]
        entries[entry.img_id] = entry
    missing = [img_id for img_id in items if img_id not in places]
    problems += [f"img_id {img_id!r} is missing; the references have {len(items)} images" for img_id in missing]
    if problems:
        raise SubmissionError(path, problems)
    return [entries[img_id] for img_id in items]


def _id_of(raw: Any) -> str | None:
    try:
        return _Entry.model_validate(raw).img_id
    except ValidationError:
        return None


def predicted_relations(entry: ClassifiedEntry, item: Item) -> list[str]:
    """Match predictions to the triples of the reference item: one label a triple, in its order.

    A pair that the references list several times, with several labels, may be answered once for all of them or as
    often; then equal labels are matched first, since the order of its labels means nothing.
    """
    answers: dict[PairKey, list[str]] = defaultdict(list)
    for triple in entry.triple_list:
        answers[triple.pair].append(triple.p)
    gold: dict[PairKey, list[int]] = defaultdict(list)
    for number, known in enumerate(item.triple_list):
        gold[_pair(known)].append(number)
    predicted = [""] * len(item.triple_list)
    for pair, numbers in gold.items():
        given = answers[pair]
        if len(given) == 1:
            given = given * len(numbers)
        left = list(given)
        unmatched = []
        for number in numbers:
            label = item.triple_list[number].p
            if label in left:
                left.remove(label)
                predicted[number] = label
            else:
                unmatched.append(number)
        for number, label in zip(unmatched, left, strict=True):
            predicted[number] = label
    return predicted


def export_submission(rows: Iterable[Mapping[str, Any]], items: Sequence[Item], folder: Path) -> list[Path]:
    """Write the submission of prediction rows ``{"id": "IMG#K", "img_id", "task", "sentences"}`` about ``items``.

    Of task 1 the first sentence is the label (empty in the file when it is none of the nine); tasks without any row
    give no file, and an older one goes. Returns the paths. Raises ``SubmissionError`` naming rows that are missing,
    doubled or do not fit.
    """
    found: dict[tuple[int, str, int], list[str]] = {}
    problems: list[str] = []
    known = {item.img_id: item for item in items}
    for row in rows:
        img_id, _, number = str(row["id"]).rpartition("#")
        key = (int(row["task"]), img_id, int(number) if number.isdecimal() else -1)
        where = f"row {row['id']!r} of task {row['task']}"
        if img_id not in known or not 0 <= key[2] < len(known[img_id].triple_list):
            problems.append(f"{where}: the annotations have no such triple")
        elif key in found:
            problems.append(f"{where}: appears twice")
        elif len(row["sentences"]) != SENTENCES[key[0]]:
            problems.append(f"{where}: {len(row['sentences'])} sentences, expected {SENTENCES[key[0]]}")
        else:
            found[key] = [str(sentence) for sentence in row["sentences"]]
    tasks = {task for task, _, _ in found}
    needed: list[tuple[int, str, int]] = []
    for item in items:
        if tasks & {1, 2}:
            needed += [(1, item.img_id, number) for number in range(len(item.triple_list))]
            needed.append((2, item.img_id, 0))
        if 3 in tasks:
            needed.append((3, item.img_id, 0))
    problems += [f"row '{key[1]}#{key[2]}' of task {key[0]}: is missing" for key in needed if key not in found]
    if problems:
        raise SubmissionError(f"predictions for {folder.name}", problems)
    paths = []
    for name in FILE_NAMES:
        (folder / name).unlink(missing_ok=True)
    if tasks & {1, 2}:
        paths.append(folder / FILE_NAMES[0])
        write_json(paths[-1], [_classified(item, found) for item in items])
    if 3 in tasks:
        paths.append(folder / FILE_NAMES[1])
        write_json(paths[-1], [{"img_id": i.img_id, "description": found[3, i.img_id, 0]} for i in items])
    return paths


def refinement_systems(
    rows: Sequence[Mapping[str, Any]], refined: Sequence[Mapping[str, Any]]
) -> dict[str, list[Mapping[str, Any]]]:
    """Pick the rows that show what the refiner did: only of images given to it, so that no system mixes the two.

    ``rows`` are the answers to all tasks that were refined, ``refined`` has those to task 3 with their "reason".
    "lora_refined" has the refined sentences, "lora_given_to_refiner" the unrefined ones of the same images. Where all
    images were given to the refiner, ``rows`` themselves are the comparison; then "lora_refined" is a whole submission,
    with the answers of ``rows`` to tasks 1 and 2, and comes alone.
    """
    given = [row for row in refined if row["reason"] != "not_selected"]
    if len(given) == len(refined):
        return {"lora_refined": [*(row for row in rows if row["task"] != 3), *given]}
    images = {row["img_id"] for row in given}
    unrefined = [row for row in rows if row["task"] == 3 and row["img_id"] in images]
    return {"lora_given_to_refiner": unrefined, "lora_refined": given}


def _classified(item: Item, found: Mapping[tuple[int, str, int], list[str]]) -> dict[str, Any]:
    triples = []
    for number, triple in enumerate(item.triple_list):
        label = found[1, item.img_id, number][0]
        triples.append(triple.model_dump(mode="json") | {"p": label if label in RELATIONS else ""})
    return {"img_id": item.img_id, "triple_list": triples, "description": found[2, item.img_id, 0]}


def _pair(triple: Any) -> PairKey:
    return (triple.s, triple.o, tuple(triple.s_bbox), tuple(triple.o_bbox))


def _pair_problems(entry: ClassifiedEntry, item: Item) -> list[str]:
    wanted = Counter(map(_pair, item.triple_list))
    given = Counter(triple.pair for triple in entry.triple_list)
    problems = []
    for number, triple in enumerate(entry.triple_list):
        if triple.pair in wanted:
            continue
        boxes = [pair[2:] for pair in wanted if pair[:2] == triple.pair[:2]]
        found = f"{triple.s!r} {list(triple.s_bbox)} and {triple.o!r} {list(triple.o_bbox)}"
        known = (
            f"the pair's boxes are {list(boxes[0][0])} and {list(boxes[0][1])}" if boxes else "there is no such pair"
        )
        problems.append(f"triple_list.{number}: in the references {known}, found {found}")
    for pair, count in wanted.items():
        if given[pair] not in (1, count):
            times = f"{given[pair]} times, expected {count}" if given[pair] else "not answered"
            problems.append(f"triple_list: the pair {pair[0]!r} and {pair[1]!r} {list(pair[2])} is {times}")
    return problems


def _described(error: ValidationError) -> list[str]:
    details = error.errors(include_url=False)
    # Of a list whose only entry is broken pydantic also says that nothing is left in it.
    inner = {one["loc"][:-2] for one in details if len(one["loc"]) > 2}
    return [_problem(one) for one in details if not (one["type"] == "too_short" and one["loc"] in inner)]


def _problem(details: Any) -> str:
    field = ".".join(map(str, details["loc"])) or "the item"
    if details["type"] == "missing":
        return f"{field}: is missing"
    if details["loc"][-1:] == ("p",):
        return f"{field}: unknown label {shown(details['input'])}; the nine are {', '.join(RELATIONS)}"
    if details["loc"] == ("description",) and details["type"] in ("too_short", "too_long"):
        expected = details["ctx"].get("min_length", details["ctx"].get("max_length"))
        return f"{field}: {len(details['input'])} sentences, expected {expected}"
    message = details["msg"].replace("a valid tuple", "a list").replace("Tuple should", "the list should")
    return f"{field}: {message}, found {shown(details['input'])}"
