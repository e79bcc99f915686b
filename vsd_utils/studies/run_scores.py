"""The scores of a run as a small file, ``reports/studies/runs/<digest>.json``, that git keeps.

From the files of two runs everything a study says can be made: all runs that are compared answer about the same
images, and all are resampled alike, so differences of their resampled scores are those of a paired bootstrap.

    digest, overrides     which run: of its parameters and its last stage
    code, base, train     digests of the code of its stages, of the base model and of the training samples
    images                by system number and digest of the answered images
    systems               by system and score (plan.SCORES): value, and "resampled", how far from the value each
                          bootstrap resample is: float16, in base64
    cost                  by stage seconds and largest memory in GiB, of those that were run for this run here
    adapter               trained numbers, and bytes of their file
    rewriting             of stage refine: images that were given to the refiner and those rewritten; of a server with
                          prices also what it costs at most in dollars, an estimate
    places                of a tiny base model: by system the share of box edges told right, and the "definition"
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_json, read_jsonl, write_json
from vsd_utils.common.params import yaml_reader
from vsd_utils.common.paths import STUDY_REPORTS, annotation_file
from vsd_utils.common.resume import Row
from vsd_utils.data.annotations import load_items
from vsd_utils.evaluate.references import load_references
from vsd_utils.evaluate.scores import Evaluation, score_systems, submission_in
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.evaluate.submissions import export_submission, refinement_systems
from vsd_utils.metrics.bootstrap import draw, resample
from vsd_utils.metrics.measure import Array
from vsd_utils.metrics.relation_learned import train_checker
from vsd_utils.studies import cost
from vsd_utils.studies.plan import Run
from vsd_utils.studies.question import SCORES

RESAMPLES = 500
RESAMPLE_SEED = 0  # of all runs, so that they are resampled alike
_DIGITS = 10


def scores_file(digest: str, folder: Path = STUDY_REPORTS) -> Path:
    """Say where the scores of the run with this digest lie."""
    return folder / "runs" / f"{digest}.json"


def score_run(run: Run, folder: Path, taken: Mapping[str, Mapping[str, float]], engine: Engine) -> dict[str, Any]:
    """Score the answers of a run in ``folder`` (``experiments.data_of``), all systems in one go.

    ``taken`` are seconds and memory of its stages (``experiments.cost_of``).

    Raises ``VsdError`` where a score cannot be computed, for want of Java, say: it would be missing for ever.
    """
    # 1. Answers as submissions, about the images that were answered.
    annotations = folder / "data" / "annotations"
    files = [annotation_file(version, "test", annotations) for version in (1, 2)]
    references = load_references(files[0], files[1])
    rows = {path.stem: read_jsonl(path) for path in sorted((folder / "data" / "predictions").glob("*.jsonl"))}
    rewriting: dict[str, Any] = {}
    if run.last_stage == "refine":
        refined = read_jsonl(folder / "data" / "refined" / "lora_refined.jsonl")
        rows |= refinement_systems(rows["lora"], refined)
        rewriting = {"rewriting": _rewriting(refined, run)}
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
    for system, one in scored.items():
        if failed := [f"{system}, {key}: {reason}" for key, reason in one.failed.items() if key in SCORES]:
            raise VsdError(f"experiment {run.experiment} was made, and cannot be scored: {failed[0]}")
    # 3. What is kept.
    return {
        "digest": run.digest,
        "overrides": list(run.overrides),
        **made_of(folder / "dvc.lock", run.last_stage),
        "images": {system: [len(one.images), _short("\n".join(one.images))] for system, one in scored.items()},
        "systems": {system: _values(one) for system, one in scored.items()},
        "cost": dict(taken),
        "adapter": _adapter(folder / "models" / "adapter" / "adapter_model.safetensors"),
        **rewriting,
    }


def _rewriting(refined: Sequence[Row], run: Run) -> dict[str, float]:
    given = [row for row in refined if row["reason"] != "not_selected"]
    found: dict[str, float] = {"given": len(given), "rewritten": sum(row["accepted"] for row in given)}
    dollars = cost.dollars(cost.params_of(run), [{**row, "sentences": row["original"]} for row in given])
    return found | ({"dollars": dollars} if dollars is not None else {})


def write_run(record: Mapping[str, Any], folder: Path = STUDY_REPORTS) -> None:
    """Write the scores of a run."""
    write_json(scores_file(record["digest"], folder), record)


def read_run(digest: str, folder: Path = STUDY_REPORTS) -> dict[str, Any] | None:
    """Read the scores of a run; None where it was not made."""
    path = scores_file(digest, folder)
    return read_json(path) if path.is_file() else None


def _values(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    measures = {key: measure for key, measure in evaluation.measures.items() if key in SCORES}
    drawn = resample(measures, draw(len(evaluation.images), RESAMPLES, RESAMPLE_SEED))
    return {
        key: {
            "value": round(measure.value, 4),
            "resampled": base64.b64encode((drawn[key] - measure.value).astype("<f2").tobytes()).decode(),
        }
        for key, measure in measures.items()
    }


def resampled(score: Mapping[str, Any]) -> Array:
    """Give a score in each resample: (resamples,)."""
    return np.frombuffer(base64.b64decode(score["resampled"]), "<f2").astype(float) + score["value"]


def made_of(lock: Path, last_stage: str) -> dict[str, str]:
    """Digest what the stages up to the last one ran with, as DVC wrote it down: their code, and data and models."""
    stages = yaml_reader().load(lock)["stages"]
    used = [stages[name] for name in ("finetune", "describe", *(["refine"] if last_stage == "refine" else []))]
    known = {dep["path"]: dep["md5"] for stage in used for dep in stage["deps"]}
    code = sorted(f"{path} {digest}" for path, digest in known.items() if not path.startswith(("data/", "models/")))
    notebooks = sorted(f"{path} {digest}" for path, digest in known.items() if path.startswith("data/notebooks/"))
    return {
        "code": _short("\n".join(code + notebooks)),
        "base": _short(known["models/base"]),
        "train": _short(known["data/samples/train"] + known["data/conversations"]),
    }


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _adapter(path: Path) -> dict[str, int]:
    """Count the numbers in a safetensors file from its header, and its bytes."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    shapes: Sequence[Sequence[int]] = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return {"parameters": sum(map(prod, shapes)), "bytes": path.stat().st_size}
