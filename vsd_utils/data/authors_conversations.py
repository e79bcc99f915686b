"""The authors' LLaVA-VSD-120K beside ours: which questions it asks, and which split of the captions it follows.

How many conversations each task has in it is not published. A rule says, for one task, which conversations an image
gives; the rules below are tried one by one, and the one whose conversations are theirs is named, or none. A rule is
said to explain a task **exactly** where both have the same conversations (``Conversations`` says what is compared),
**nearly** where at least 98 % of both together are shared (Sørensen-Dice), and **in number alone** where for at least
98 % of the images both have the same number of them; where no image of theirs is known, where the totals agree.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from vsd_utils.common.errors import VsdError, listed, shown
from vsd_utils.common.files import read_json
from vsd_utils.data.conversations import distinct, three_captions
from vsd_utils.data.prompts import IMAGE, SENTENCE_BREAK, TASKS, read_question
from vsd_utils.data.samples import Sample

NEARLY = 0.98  # share of conversations, or of images
EXPLAINS = ("exactly", "nearly")
# An image's id, and what stands for a conversation about it: in task 1 names and relation, in task 2 the caption, in
# task 3 nothing, for which three captions are taken, and in which order, is no matter of the split.
Key = tuple[str, ...]
Conversations = Counter[Key]


class Asked(NamedTuple):
    """Hold one question and answer of theirs; ``image`` is the annotated image's id, None where none is known."""

    image: str | None
    task: int
    subject: str
    object: str
    answer: str


class Release(NamedTuple):
    """Hold their conversations by task, and the questions that are none of ours: masked text -> how many."""

    asked: list[Asked]
    unknown: Counter[str]


class Comparison(NamedTuple):
    """Say how one rule fits one task of theirs; ``similarity`` is the Sørensen-Dice share, 0 to 1."""

    rule: str
    conversations: int
    shared: int
    similarity: float
    verdict: str


class _Turn(BaseModel):
    model_config = ConfigDict(frozen=True)

    speaker: str = Field(alias="from")
    value: str


class _Record(BaseModel):
    id: str | int | None = None
    image: str
    conversations: list[_Turn]


_RECORDS = TypeAdapter(list[_Record])


def read_release(path: Path, samples: Mapping[str, Sample]) -> Release:
    """Read a file in LLaVA's training format; ``samples`` are the annotated images by id.

    Raises ``VsdError`` naming every record that is not of the format.
    """
    content = read_json(path)
    if not isinstance(content, list) or not content:
        raise VsdError(f"{path}: expected a JSON list of conversations as LLaVA is trained on, found {shown(content)}")
    try:
        records = _RECORDS.validate_python(content)
    except ValidationError as error:
        problems = [
            f"{path}, record {'.'.join(map(str, one['loc']))}: {one['msg']}, found {shown(one['input'])}"
            for one in error.errors(include_url=False)
        ]
        raise VsdError(listed(problems)) from None
    release = Release([], Counter())
    for number, record in enumerate(records):
        sample = samples.get(_image_of(record, samples) or "")
        for question, answer in _pairs(record.conversations, f"{path}, record {number}"):
            try:
                read = read_question(question)
            except ValueError:
                release.unknown[_masked(question, sample)] += 1
            else:
                release.asked.append(Asked(sample.id if sample else None, *read, answer))
    return release


def compare(release: Release, samples: Sequence[Sample]) -> dict[int, list[Comparison]]:
    """Compare each task of theirs with each rule, the best first; of equally good ones in the order of the rules."""
    found = {}
    for task in TASKS:
        theirs = Counter(_key(one) for one in release.asked if one.task == task)
        most = max(_by_image(theirs).values(), default=0)
        rules = _rules(task, most)
        compared = [
            _compared(name, Counter(key for sample in samples for key in rule(sample)), theirs)
            for name, rule in rules.items()
        ]
        order = ("exactly", "nearly", "in number alone", "no")
        found[task] = sorted(compared, key=lambda one: (order.index(one.verdict), -one.similarity))
    return found


def explained_by(comparisons: Mapping[int, Sequence[Comparison]]) -> dict[int, str | None]:
    """Name the rule that explains each task, exactly or nearly; None where none of them does."""
    return {task: rules[0].rule if rules[0].verdict in EXPLAINS else None for task, rules in comparisons.items()}


def task3_answers(release: Release, samples: Mapping[str, Sample]) -> dict[str, int]:
    """Count how their answers of task 3 are made, for those whose image is known."""
    counts = dict.fromkeys(
        ("the same three sentences as ours", "the same in another order", "other captions", "other text"), 0
    )
    for one in release.asked:
        if one.task == 3 and one.image is not None:
            sample = samples[one.image]
            theirs = [" ".join(line.split()).lower() for line in one.answer.split(SENTENCE_BREAK.strip(" "))]
            ours = [caption.lower() for caption in three_captions(sample) or ()]
            captions = {caption.lower() for caption in (*sample.captions_v1, *sample.captions_v2)}
            kinds = (theirs == ours, sorted(theirs) == sorted(ours), captions.issuperset(theirs), True)
            counts[list(counts)[kinds.index(True)]] += 1
    return counts


def _rules(task: int, most: int) -> dict[str, Callable[[Sample], Iterable[Key]]]:
    """Name the rules of a task; ``most`` is the largest number of conversations that an image of theirs has."""
    if task == 1:
        return {
            "one for each triple": _triples,
            "one for each distinct triple of names and relation": lambda sample: dict.fromkeys(_triples(sample)),
            "one for each image, of its first triple": lambda sample: _triples(sample)[:1],
        }
    if task == 2:
        rules: dict[str, Callable[[Sample], Iterable[Key]]] = {
            "one for each distinct VSDv1 caption": lambda sample: _captions(sample, distinct(sample.captions_v1)),
            "one for each VSDv1 caption, repeated ones again": lambda sample: _captions(sample, sample.captions_v1),
            "one for each image, its first VSDv1 caption": lambda sample: _captions(sample, sample.captions_v1[:1]),
            "one for each distinct caption of both versions": lambda sample: _captions(
                sample, distinct((*sample.captions_v1, *sample.captions_v2))
            ),
            "one for each image, its first VSDv2 caption": lambda sample: _captions(sample, sample.captions_v2[:1]),
        }
        if most > 1:
            rules[f"at most {most} distinct VSDv1 captions of each image, the first ones"] = lambda sample: _captions(
                sample, distinct(sample.captions_v1)[:most]
            )
        return rules
    return {
        "one for each image with at least three distinct captions": lambda sample: _enough(sample)[:1],
        "one for each image": lambda sample: [(sample.id,)],
        "one for each triple of an image with at least three distinct captions": _enough,
        "one for each triple": lambda sample: [(sample.id,)] * len(sample.triples),
    }


def _triples(sample: Sample) -> list[Key]:
    return [(sample.id, one.subject.lower(), one.object.lower(), one.relation) for one in sample.triples]


def _captions(sample: Sample, captions: Iterable[str]) -> list[Key]:
    return [(sample.id, caption.lower()) for caption in captions]


def _enough(sample: Sample) -> list[Key]:
    return [(sample.id,)] * len(sample.triples) if three_captions(sample) else []


def _key(one: Asked) -> Key:
    image, answer = one.image or "", " ".join(one.answer.split())
    if one.task == 1:
        return (image, one.subject.lower(), one.object.lower(), answer.lower().rstrip("."))
    return (image, answer.lower()) if one.task == 2 else (image,)


def _compared(rule: str, ours: Conversations, theirs: Conversations) -> Comparison:
    shared = (ours & theirs).total()
    similarity = 2 * shared / max(ours.total() + theirs.total(), 1)
    return Comparison(rule, ours.total(), shared, round(similarity, 4), _verdict(ours, theirs, similarity))


def _verdict(ours: Conversations, theirs: Conversations, similarity: float) -> str:
    if not theirs:
        return "no"
    if ours == theirs:
        return "exactly"
    if similarity >= NEARLY:
        return "nearly"
    number_ours, number_theirs = _by_image(ours), _by_image(theirs)
    if number_theirs.keys() == {""}:
        return "in number alone" if ours.total() == theirs.total() else "no"
    images = number_ours.keys() | number_theirs.keys()
    alike = sum(number_ours[image] == number_theirs[image] for image in images)
    return "in number alone" if alike >= NEARLY * len(images) else "no"


def _by_image(conversations: Conversations) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for key, number in conversations.items():
        numbers[key[0]] += number
    return numbers


def _pairs(turns: Sequence[_Turn], where: str) -> Iterator[tuple[str, str]]:
    if len(turns) % 2 or [turn.speaker for turn in turns] != ["human", "gpt"] * (len(turns) // 2):
        raise VsdError(
            f"{where}: conversations are from {', '.join(turn.speaker for turn in turns) or 'nobody'}; expected human "
            "and gpt in turn"
        )
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        yield " ".join(question.value.replace(IMAGE, " ").split()), answer.value


def _image_of(record: _Record, samples: Mapping[str, Sample]) -> str | None:
    """Find the id of a record's image: the file's name, perhaps without its suffix or our number of the triple."""
    path = PurePosixPath(record.image)
    own_id = str(record.id).rpartition("/task")[0].partition("#")[0]
    names = (path.name, path.stem, re.sub(r"_\d+$", "", path.stem), own_id)
    return next((name for name in names if name in samples), None)


def _masked(question: str, sample: Sample | None) -> str:
    """Put {name} for the names of an image's things, so that one template is one text."""
    names = {name for one in sample.triples for name in (one.subject, one.object)} if sample else set()
    if not names:
        return question
    longest_first = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)({longest_first})(?!\w)", "{name}", question, flags=re.IGNORECASE)
