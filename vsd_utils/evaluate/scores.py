"""The scores of one or several systems from their submission files: values, intervals, paired tests, single items."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vsd_utils.common.errors import VsdError, shown
from vsd_utils.common.files import sha256, write_json, write_jsonl
from vsd_utils.data.annotations import RELATIONS, Item, load_items
from vsd_utils.evaluate.definitions import SCALE, definitions, versions
from vsd_utils.evaluate.sentence_scores import (
    DIVERSITY_NAMES,
    SPICE_OFF,
    TOKEN_NAMES,
    Engine,
    SentenceScores,
    SentenceTask,
    score_sentences,
)
from vsd_utils.evaluate.submissions import (
    FILE_NAMES,
    check_submission,
    predicted_images,
    predicted_relations,
    read_images,
)
from vsd_utils.metrics.bootstrap import RESAMPLES, Comparison, compare, intervals
from vsd_utils.metrics.challenge import READINGS, challenge_scores
from vsd_utils.metrics.java.tokenizer import one_line
from vsd_utils.metrics.measure import Measure
from vsd_utils.metrics.relation_f1 import AVERAGES, confusion_counts, relation_measures

_NO_FILE = "no file with predictions of this task was given"
TASK_NAMES = {
    "task1": ("accuracy", *(f"f1_{name}" for name in AVERAGES)),
    "task2": (*TOKEN_NAMES, "relation_in_sentence"),
    "task3": (*TOKEN_NAMES, *DIVERSITY_NAMES, "relation_in_sentence"),
}


class Submission(NamedTuple):
    """A system's two files; either may be None."""

    task12: Path | None
    task3: Path | None


def submission_in(folder: Path) -> Submission:
    """Find a system's two files in its folder."""
    task12, task3 = (folder / name if (folder / name).is_file() else None for name in FILE_NAMES)
    return Submission(task12, task3)


@dataclass(frozen=True)
class Evaluation:
    """``scores``: what the scoring command writes; ``items``: one row an image; ``measures`` by "task2.spice" etc. over
    ``images``, from which ``compare_systems`` works; ``failed``: reasons, by "task2.spice" etc., of the scores that
    were asked for and could not be computed."""

    scores: dict[str, Any]
    items: list[dict[str, Any]]
    measures: dict[str, Measure]
    images: tuple[str, ...]
    failed: dict[str, str] = field(default_factory=dict)


class References(NamedTuple):
    """The two annotation files of one split, and which version (1 or 2) tasks 2 and 3 are scored against.

    ``items``, by version, spare whoever has read the files a second reading.
    """

    v1: Path
    v2: Path | None = None
    task2: int = 1
    task3: int = 2
    items: Mapping[int, Sequence[Item]] | None = None

    def used(self, version: int) -> Path:
        """The file of a version; raises ``VsdError`` when it was not given."""
        path = self.v1 if version == 1 else self.v2
        if path is None:
            raise VsdError(f"the VSDv{version} annotation file is needed and was not given")
        return path


def score_predictions(
    task12: Path | None,
    task3: Path | None,
    references: References,
    *,
    engine: Engine | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    only_predicted: bool = False,
) -> Evaluation:
    """Score one system; see ``score_systems``."""
    systems = {"system": Submission(task12, task3)}
    options: dict[str, Any] = {"resamples": resamples, "seed": seed, "only_predicted": only_predicted}
    return score_systems(systems, references, engine=engine, **options)["system"]


def score_systems(
    systems: Mapping[str, Submission],
    references: References,
    *,
    engine: Engine | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    only_predicted: bool = False,
) -> dict[str, Evaluation]:
    """Score the submissions of several systems in one go, which costs little more than one of them.

    ``score_together`` without further sentences.
    """
    options: dict[str, Any] = {"resamples": resamples, "seed": seed, "only_predicted": only_predicted}
    return score_together(systems, references, {}, engine=engine, **options)[0]


def score_together(
    systems: Mapping[str, Submission],
    references: References,
    sentences: Mapping[tuple[str, str], SentenceTask],
    *,
    engine: Engine | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    only_predicted: bool = False,
) -> tuple[dict[str, Evaluation], dict[tuple[str, str], SentenceScores]]:
    """Score the submissions of several systems, and further sentences with references of their own, in one go.

    Task 1 is scored triple by triple and the sentences' relation by the first triple, both of ``references.v1``. With
    ``only_predicted`` images that a system's files lack are left out (``n`` says how many are left), else they are an
    error. Raises ``VsdError`` for files that cannot be used, ``SubmissionError`` with all problems of a submission.
    """
    engine = engine or Engine()
    load = functools.cache(load_items)

    def known(version: int) -> Sequence[Item]:
        return (references.items or {}).get(version) or load(references.used(version))

    tasks: dict[tuple[str, str, str], SentenceTask] = {("sentences", *key): work for key, work in sentences.items()}
    read: dict[str, tuple[Sequence[Item], list[Any] | None, dict[str, Any]]] = {}
    for name, submission in systems.items():
        given = {file: (path, read_images(path)) for file, path in submission._asdict().items() if path}
        items = _predicted(known(1), given) if only_predicted else known(1)
        first = None
        for file, (path, content) in given.items():
            entries = check_submission(content, path, "1-2" if file == "task12" else "3", items)
            first = entries if file == "task12" else first
            task, version = ("task2", references.task2) if file == "task12" else ("task3", references.task3)
            tasks["system", name, task] = _sentence_task(entries, items, known(version), references.used(version))
        sources = {file: {"file": path.name, "sha256": sha256(path)} for file, (path, _) in given.items()}
        read[name] = (items, first, sources)
    header = _header(references, engine, resamples, seed)
    scored = score_sentences(tasks, engine)
    evaluations = {}
    for name, (items, first, sources) in read.items():
        results = {task: scored[key] for task in ("task2", "task3") if (key := ("system", name, task)) in tasks}
        works = {task: tasks["system", name, task] for task in results}
        evaluation = _evaluate(items, first, works, results, resamples, seed)
        evaluation.scores.update({"sources": sources} | header)
        evaluations[name] = evaluation
    return evaluations, {key: scored["sentences", *key] for key in sentences}


def compare_systems(
    first: Evaluation,
    second: Evaluation,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tasks: Sequence[str] = tuple(TASK_NAMES),
) -> dict[str, Comparison]:
    """Paired comparison of every score that both have, z and overall too, keyed "task2.spice", "z.code.z2" etc.

    ``tasks`` leaves out the scores of the others, where both systems give the same answers. Empty when there is one
    image, of which there is no test. Raises ``VsdError`` when the two were not scored on the same images.
    """
    if first.images != second.images:
        raise VsdError("a paired test needs two systems that were scored on the same images in the same order")
    if len(first.images) < 2:
        return {}
    mine, other = (
        {key: measure for key, measure in one.measures.items() if key.split(".")[0] in tasks} for one in (first, second)
    )
    return compare(mine, other, challenge_scores, resamples, seed)


def explain_absent_tasks(evaluation: Evaluation, reason: str) -> None:
    """Put ``reason`` for each task of ``evaluation`` that is not scored for want of a file."""
    missing = evaluation.scores["not_computed"]
    missing |= {task: reason for task in TASK_NAMES if missing.get(task) == _NO_FILE}


def disagreements(evaluation: Evaluation, task: str = "task2", count: int = 5) -> dict[str, list[dict[str, Any]]]:
    """Sentences on which SPICE and the relation checker disagree most.

    "high_spice_wrong_relation": highest SPICE first among sentences that do not state the relation;
    "low_spice_right_relation": lowest first among those that do. Rows have img_id, subject, object, relation, sentence,
    references, spice. Both lists are empty when SPICE was not computed.
    """
    rows = []
    for item in evaluation.items:
        scores = item.get(task)
        if not scores or scores.get("spice") is None:
            continue
        for number, sentence in enumerate(scores["sentences"]):
            row = {key: item[key] for key in ("img_id", "subject", "object", "relation")}
            row |= {"sentence": sentence, "references": scores["references"], "spice": scores["spice"][number]}
            rows.append((bool(scores["relation_in_sentence"][number]), row))
    wrong = sorted((row for stated, row in rows if not stated), key=lambda row: (-row["spice"], row["img_id"]))
    right = sorted((row for stated, row in rows if stated), key=lambda row: (row["spice"], row["img_id"]))
    return {"high_spice_wrong_relation": wrong[:count], "low_spice_right_relation": right[:count]}


def fact_of(item: Item) -> tuple[str, str, frozenset[str]]:
    """The pair that tasks 2 and 3 are about, the first triple's, and every relation annotated for this very pair."""
    asked = item.triple_list[0]
    same = (
        t for t in item.triple_list if (t.s, t.o, t.s_bbox, t.o_bbox) == (asked.s, asked.o, asked.s_bbox, asked.o_bbox)
    )
    return asked.s, asked.o, frozenset(triple.p for triple in same)


def _predicted(gold: Sequence[Item], given: Mapping[str, tuple[Path, Sequence[Any]]]) -> list[Item]:
    ids = set().union(*(predicted_images(content) for _, content in given.values()))
    kept = [item for item in gold if item.img_id in ids]
    if not kept:
        files = " and ".join(str(path) for path, _ in given.values())
        raise VsdError(f"{files}: none of the images of the references is predicted")
    return kept


def _sentence_task(entries: Sequence[Any], items: Sequence[Item], known: Sequence[Item], path: Path) -> SentenceTask:
    captions = {item.img_id: item.captions for item in known}
    if missing := [item.img_id for item in items if item.img_id not in captions]:
        raise VsdError(
            f"{path}: has no captions for image {missing[0]!r} ({len(missing)} such); are these of one split?"
        )
    if silent := [item.img_id for item in items if not any(map(str.isalnum, "".join(captions[item.img_id])))]:
        raise VsdError(
            f"{path}: the references of {len(silent)} of {len(items)} images are placeholders: their captions hold no "
            f"words, image {silent[0]!r} has {shown(captions[silent[0]][0])}. Take the annotated file."
        )
    return SentenceTask(
        [entry.description for entry in entries], [captions[i.img_id] for i in items], [fact_of(i) for i in items]
    )


def _evaluate(
    items: Sequence[Item],
    first: Sequence[Any] | None,
    works: Mapping[str, SentenceTask],
    results: Mapping[str, SentenceScores],
    resamples: int,
    seed: int,
) -> Evaluation:
    measures: dict[str, Measure] = {}
    failed: dict[str, str] = {}
    scores: dict[str, Any] = {task: {"n": 0} | dict.fromkeys(names) for task, names in TASK_NAMES.items()}
    missing = dict.fromkeys(TASK_NAMES, _NO_FILE)
    rows = [_row(item) for item in items]
    if first is not None:
        del missing["task1"]
        predicted = [predicted_relations(entry, item) for entry, item in zip(first, items, strict=True)]
        measures |= _relations(items, predicted, scores["task1"], rows)
    for task, result in results.items():
        del missing[task]
        reasons = {f"{task}.{name}": reason for name, reason in result.missing.items() if name in TASK_NAMES[task]}
        missing |= reasons
        failed |= {key: reason for key, reason in reasons.items() if reason != SPICE_OFF}
        measures |= {f"{task}.{name}": measure for name, measure in result.measures.items()}
        scores[task]["n"] = len(items)
        for number, row in enumerate(rows):
            texts = {"sentences": [one_line(text) for text in works[task].sentences[number]]}
            texts["references"] = [one_line(text) for text in works[task].references[number]]
            row[task] = texts | {name: _rounded(each[number]) for name, each in result.each.items()}
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
    files = {
        key: {"file": path.name, "sha256": sha256(path)}
        for key, path in (("v1", references.v1), ("v2", references.v2))
        if path
    }
    return {
        "scale": SCALE,
        "definitions": definitions(references.task2, references.task3),
        "references": files,
        "resamples": resamples,
        "seed": seed,
        "versions": versions(java),
    }


def write_scores(evaluation: Evaluation, output: Path) -> Path:
    """Write the scores to ``output`` (JSON) and one line an image beside it; returns the path of the latter."""
    items = items_file(output)
    write_json(output, evaluation.scores)
    write_jsonl(items, evaluation.items)
    return items


def items_file(output: Path) -> Path:
    """Name the file with one line an image that lies beside the scores in ``output``."""
    return output.with_name(f"{output.stem}.items.jsonl")
