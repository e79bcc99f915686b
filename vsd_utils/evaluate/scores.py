"""The scores of one or several systems from their submission files: values, intervals, single images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256
from vsd_utils.data.annotations import RELATIONS, Item
from vsd_utils.evaluate.definitions import SCALE, definitions, versions
from vsd_utils.evaluate.references import References, fact_of
from vsd_utils.evaluate.sentence_scores import (
    DIVERSITY_NAMES,
    NOT_ASKED,
    RELATION_NAMES,
    TOKEN_NAMES,
    Engine,
    SentenceScores,
    SentenceTask,
    score_sentences,
)
from vsd_utils.evaluate.submissions import (
    FILE_NAMES,
    ClassifiedEntry,
    check_submission,
    predicted_images,
    predicted_relations,
    read_images,
)
from vsd_utils.metrics.bootstrap import RESAMPLES, intervals
from vsd_utils.metrics.challenge import READINGS, challenge_scores
from vsd_utils.metrics.java.tokenizer import one_line
from vsd_utils.metrics.measure import Measure
from vsd_utils.metrics.relation_f1 import AVERAGES, confusion_counts, relation_measures

_NO_FILE = "no file with predictions of this task was given"
TASK_NAMES = {
    "task1": ("accuracy", *(f"f1_{name}" for name in AVERAGES)),
    "task2": (*TOKEN_NAMES, *RELATION_NAMES),
    "task3": (*TOKEN_NAMES, *DIVERSITY_NAMES, *RELATION_NAMES),
}


class Submission(NamedTuple):
    """A system's two files; either may be None."""

    task12: Path | None
    task3: Path | None


def submission_in(folder: Path) -> Submission:
    """Find a system's two files in its folder."""
    task12, task3 = (folder / name if (folder / name).is_file() else None for name in FILE_NAMES)
    return Submission(task12, task3)


class _Answers(NamedTuple):
    """A system's checked files: ``items`` that it answers, entries of task 1 or None, sentences by "task2", "task3"."""

    items: Sequence[Item]
    classified: Sequence[ClassifiedEntry] | None
    tasks: dict[str, SentenceTask]
    sources: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """``scores``: what the scoring command writes; ``items``: one row an image; ``measures`` by "task2.spice" etc. over
    ``images``, from which systems are compared; ``failed``: reasons, by "task2.spice" etc., of the scores that
    were asked for and could not be computed."""

    scores: dict[str, Any]
    items: list[dict[str, Any]]
    measures: dict[str, Measure]
    images: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)


class ScoredTogether(NamedTuple):
    """``systems`` by name, and the further ``sentences`` by their key."""

    systems: dict[str, Evaluation]
    sentences: dict[tuple[str, str], SentenceScores]


def score_systems(
    systems: Mapping[str, Submission],
    references: References,
    sentences: Mapping[tuple[str, str], SentenceTask] | None = None,
    *,
    engine: Engine | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    only_predicted: bool = False,
) -> ScoredTogether:
    """Score the submissions of several systems, and further sentences with references of their own, in one go.

    Together they cost little more than one of them. Task 1 is scored triple by triple and the sentences' relation by
    the first triple, both of the v1 references. With ``only_predicted`` images that a system's files lack are left out
    (``n`` says how many are left), else they are an error. Raises ``VsdError`` for files that cannot be used and for a
    learned checker that was trained on images of the references, ``SubmissionError`` with all problems of a submission.
    """
    engine, sentences = engine or Engine(), sentences or {}
    # 1. Check every file before anything is scored.
    if engine.learned:
        engine.learned.refuse_trained(item.img_id for item in references.items[1])
    answers = {name: _read(submission, references, only_predicted) for name, submission in systems.items()}
    # 2. Score all sentences at once.
    tasks: dict[tuple[str, str, str], SentenceTask] = {("sentences", *key): task for key, task in sentences.items()}
    tasks |= {("system", name, task): work for name, one in answers.items() for task, work in one.tasks.items()}
    scored = score_sentences(tasks, engine)
    # 3. Put each system's scores together, with what they were computed by.
    header = _header(references, engine, resamples, seed)
    evaluations = {}
    for name, one in answers.items():
        results = {task: scored["system", name, task] for task in one.tasks}
        evaluations[name] = _evaluate(one, results, resamples, seed)
        evaluations[name].scores.update({"sources": one.sources} | header)
    return ScoredTogether(evaluations, {key: scored["sentences", *key] for key in sentences})


def explain_absent_tasks(evaluation: Evaluation, reason: str) -> None:
    """Put ``reason`` for each task of ``evaluation`` that is not scored for want of a file."""
    missing = evaluation.scores["not_computed"]
    missing |= {task: reason for task in TASK_NAMES if missing.get(task) == _NO_FILE}


def _read(submission: Submission, references: References, only_predicted: bool) -> _Answers:
    """Read and check a system's files against the references."""
    given = {file: (path, read_images(path)) for file, path in submission._asdict().items() if path}
    gold = references.items[1]
    items = _predicted(gold, given) if only_predicted else gold
    facts = [fact_of(item) for item in items]
    classified, tasks = None, {}
    for file, (path, content) in given.items():
        entries = check_submission(content, path, "1-2" if file == "task12" else "3", items)
        classified = entries if file == "task12" else classified
        task, version = ("task2", references.task2) if file == "task12" else ("task3", references.task3)
        sentences = [entry.description for entry in entries]
        tasks[task] = SentenceTask(sentences, references.captions(version, items), facts)
    sources = {file: {"file": path.name, "sha256": sha256(path)} for file, (path, _) in given.items()}
    return _Answers(items, classified, tasks, sources)


def _predicted(gold: Sequence[Item], given: Mapping[str, tuple[Path, Sequence[Any]]]) -> list[Item]:
    ids = set().union(*(predicted_images(content) for _, content in given.values()))
    predicted = [item for item in gold if item.img_id in ids]
    if not predicted:
        files = " and ".join(str(path) for path, _ in given.values())
        raise VsdError(f"{files}: none of the images of the references is predicted")
    return predicted


def _evaluate(answers: _Answers, results: Mapping[str, SentenceScores], resamples: int, seed: int) -> Evaluation:
    items = answers.items
    measures: dict[str, Measure] = {}
    failed: dict[str, str] = {}
    scores: dict[str, Any] = {task: {"n": 0} | dict.fromkeys(names) for task, names in TASK_NAMES.items()}
    missing = dict.fromkeys(TASK_NAMES, _NO_FILE)
    rows = [_row(item) for item in items]
    # 1. Task 1, triple by triple.
    if answers.classified is not None:
        del missing["task1"]
        predicted = [predicted_relations(entry, item) for entry, item in zip(answers.classified, items, strict=True)]
        measures |= _relations(items, predicted, scores["task1"], rows)
    # 2. Tasks 2 and 3, with the reasons of what could not be computed.
    for task, result in results.items():
        del missing[task]
        reasons = {f"{task}.{name}": reason for name, reason in result.missing.items() if name in TASK_NAMES[task]}
        missing |= reasons
        failed |= {key: reason for key, reason in reasons.items() if reason not in NOT_ASKED}
        measures |= {f"{task}.{name}": measure for name, measure in result.measures.items()}
        scores[task]["n"] = len(items)
        for number, row in enumerate(rows):
            texts = {"sentences": [one_line(text) for text in answers.tasks[task].sentences[number]]}
            texts["references"] = [one_line(text) for text in answers.tasks[task].references[number]]
            row[task] = texts | {name: _rounded(each[number]) for name, each in result.each.items()}
    # 3. Values, the challenge's combinations of them, and intervals.
    values: dict[str, Any] = {key: measure.value for key, measure in measures.items()}
    combined = challenge_scores(values)
    for key in ("f1_per_relation", "no_answer"):
        scores["task1"].setdefault(key, None)
    scores["z"] = {reading: {} for reading in READINGS}
    for key, value in (values | combined).items():
        _place(scores, key, value)
        if value is None and key.startswith("z."):
            missing[key] = "a score that it is made of was not computed"
    scores["intervals"] = {}
    if len(items) > 1 and measures:
        for key, bounds in intervals(measures, challenge_scores, resamples, seed).items():
            _place(scores["intervals"], key, list(bounds))
    else:
        missing["intervals"] = "an interval over images needs at least two images"
    scores["not_computed"] = missing
    return Evaluation(scores, rows, measures, tuple(item.img_id for item in items), failed)


def _relations(
    items: Sequence[Item], predicted: list[list[str]], scores: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, Measure]:
    gold = [[triple.p for triple in item.triple_list] for item in items]
    counts = confusion_counts(gold, predicted)
    measures = relation_measures(counts)
    total = counts.sum(0).reshape(len(RELATIONS), -1)
    occurs = total.sum(1) + total[:, : len(RELATIONS)].sum(0) > 0
    each = {relation: measures.pop(f"f1 {relation}").value for relation in RELATIONS}
    scores |= {
        "n": int(total.sum()),
        "f1_per_relation": {r: each[r] if there else None for r, there in zip(RELATIONS, occurs, strict=True)},
        "no_answer": int(total[:, -1].sum()),
        "confusion": total.astype(int).tolist(),
    }
    for row, item, given in zip(rows, items, predicted, strict=True):
        row["task1"] = [
            {"subject": t.s, "object": t.o, "gold": t.p, "predicted": p, "correct": t.p == p}
            for t, p in zip(item.triple_list, given, strict=True)
        ]
    return {f"task1.{name}": measure for name, measure in measures.items()}


def _row(item: Item) -> dict[str, Any]:
    asked = item.triple_list[0]
    return {"img_id": item.img_id, "subject": asked.s, "object": asked.o, "relation": asked.p}


def _rounded(values: Any) -> list[float]:
    return [round(float(value), 6) for value in np.atleast_1d(values)]


def _place(tree: dict[str, Any], key: str, value: Any) -> None:
    *path, name = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
    tree[name] = value


def _header(references: References, engine: Engine, resamples: int, seed: int) -> dict[str, Any]:
    try:
        java = engine.found()
    except VsdError:
        java = None
    files = {f"v{version}": {"file": path.name, "sha256": sha256(path)} for version, path in references.files.items()}
    return {
        "scale": SCALE,
        "definitions": definitions(references.task2, references.task3),
        "references": files,
        "resamples": resamples,
        "seed": seed,
        "versions": versions(java),
    }
