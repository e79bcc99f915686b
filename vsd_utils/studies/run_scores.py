"""The scores of a run as a small file, ``reports/studies/runs/<digest>.json``, that git keeps.

From the files of two runs everything a study says can be made: all runs that are compared answer about the same
images, and all are resampled alike, so differences of their ``resampled`` scores are those of a paired bootstrap.

    digest, overrides     which run: of its parameters and its last stage
    data, images          digest of the test annotations, number of answered images
    systems               by system and score: value, and the same of each bootstrap resample, times 100
    cost                  by stage seconds and largest memory in GiB; a stage that DVC had made before is not in it
    adapter               trained numbers, and bytes of their file
    not_computed          by system and score the reason
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vsd_utils.common.files import read_json, read_jsonl, sha256, write_json
from vsd_utils.common.paths import STUDY_REPORTS, annotation_file
from vsd_utils.data.annotations import load_items
from vsd_utils.evaluate.references import load_references
from vsd_utils.evaluate.scores import Evaluation, score_systems, submission_in
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.evaluate.submissions import export_submission, refinement_systems
from vsd_utils.metrics.bootstrap import draw, resample
from vsd_utils.metrics.relation_learned import train_checker
from vsd_utils.studies.plan import Run

RESAMPLES = 500
RESAMPLE_SEED = 0  # of all runs, so that they are resampled alike
_HUNDREDTHS = 100


def scores_file(digest: str, folder: Path = STUDY_REPORTS) -> Path:
    """Say where the scores of the run with this digest lie."""
    return folder / "runs" / f"{digest}.json"


def score_run(run: Run, folder: Path, cost: Mapping[str, Mapping[str, float]], engine: Engine) -> dict[str, Any]:
    """Score the answers of a run in ``folder`` (``experiments.data_of``) by every metric, all systems in one go."""
    # 1. Answers as submissions, about the images that were answered.
    annotations = folder / "data" / "annotations"
    files = [annotation_file(version, "test", annotations) for version in (1, 2)]
    references = load_references(files[0], files[1])
    rows = {path.stem: read_jsonl(path) for path in sorted((folder / "data" / "predictions").glob("*.jsonl"))}
    if run.last_stage == "refine":
        rows |= refinement_systems(rows["lora"], read_jsonl(folder / "data" / "refined" / "lora_refined.jsonl"))
    learned = train_checker(load_items(annotation_file(1, "train", annotations)))
    with TemporaryDirectory() as written:
        for system, answers in rows.items():
            answered = {row["img_id"] for row in answers}
            items = [item for item in references.items[1] if item.img_id in answered]
            export_submission(answers, items, Path(written) / system)
        # 2. Scores.
        submissions = {system: submission_in(Path(written) / system) for system in rows}
        engine = replace(engine, learned=learned)
        scored = score_systems(submissions, references, engine=engine, resamples=2, only_predicted=True).systems
    # 3. What is kept.
    return {
        "digest": run.digest,
        "overrides": list(run.overrides),
        "data": "".join(sha256(path)[:6] for path in files),
        "images": {system: len(one.images) for system, one in scored.items()},
        "systems": {system: _values(one) for system, one in scored.items()},
        "cost": dict(cost),
        "adapter": _adapter(folder / "models" / "adapter" / "adapter_model.safetensors"),
        "not_computed": {system: one.scores["not_computed"] for system, one in scored.items()},
    }


def write_run(record: Mapping[str, Any], folder: Path = STUDY_REPORTS) -> None:
    """Write the scores of a run."""
    write_json(scores_file(record["digest"], folder), record)


def read_run(digest: str, folder: Path = STUDY_REPORTS) -> dict[str, Any] | None:
    """Read the scores of a run; None where it was not made."""
    path = scores_file(digest, folder)
    return read_json(path) if path.is_file() else None


def _values(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    drawn = resample(evaluation.measures, draw(len(evaluation.images), RESAMPLES, RESAMPLE_SEED))
    return {
        key: {
            "value": round(measure.value, 4),
            "resampled": [int(value) for value in np.rint(drawn[key] * _HUNDREDTHS)],
        }
        for key, measure in evaluation.measures.items()
    }


def resampled(values: Mapping[str, Any]) -> np.ndarray:
    """Give a score in each resample: (resamples,)."""
    return np.asarray(values["resampled"], dtype=float) / _HUNDREDTHS


def _adapter(path: Path) -> dict[str, int]:
    """Count the numbers in a safetensors file from its header, and its bytes."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes: Sequence[Sequence[int]] = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return {"parameters": sum(map(prod, shapes)), "bytes": path.stat().st_size}
