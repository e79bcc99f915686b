"""Say how hard scenes are: scores by subsets told from the annotations, of drawn scenes also by what is hidden.

    vsd subsets                                   # the run of this checkout: its systems, on its test split
    vsd subsets --annotations sources/vsd         # the authors' val files: shares, and regressions without an image

Writes ``reports/studies/subsets_<profile>`` or ``reports/studies/subsets_<split>_annotations`` as .md, .csv and .tex.
``vsd_utils/data/subsets.py`` says what the subsets are.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from vsd_utils.common import params
from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_jsonl, sha256
from vsd_utils.common.paths import PREDICTIONS, STUDY_REPORTS, SUBMISSIONS, annotation_file, user_path
from vsd_utils.data import samples
from vsd_utils.data.annotations import SPLITS, Item, load_items
from vsd_utils.data.subsets import SUBSETS
from vsd_utils.evaluate import subset_scores
from vsd_utils.evaluate.definitions import definitions
from vsd_utils.evaluate.references import load_references
from vsd_utils.evaluate.scores import score_systems, submission_in
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.evaluate.submissions import export_submission
from vsd_utils.miniature import occlusion
from vsd_utils.report import provenance, tables
from vsd_utils.report.systems import SYSTEMS

_WHAT = [f"{name}: {text}" for name, text in SUBSETS.items()]
_SCENE = re.compile(r"scene_test_(\d{6})")  # as miniature/scenes/dataset.py names them
_IN_BRACKETS = f"In brackets 95 % bootstrap intervals over images; empty below {subset_scores.FEWEST} images."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the annotations to look at in place of the run."""
    parser.add_argument("--annotations", metavar="FOLDER", help="with VSDv1: say what is in its file, of no system")
    parser.add_argument("--split", choices=SPLITS, default="val", help="which file of that folder (val)")
    parser.add_argument("--seed", type=int, default=0, help="of the parts and of the resamples (0)")
    parser.add_argument("--heap-gb", type=float, default=4.0, help="most memory for SPICE's Java in GiB (4)")


def run(given: argparse.Namespace) -> int:
    """Write the table and say where it is."""
    name = _annotations(given) if given.annotations else _systems(given)
    print(f"written: {STUDY_REPORTS / name}.md, .csv, .tex")
    return 0


def _annotations(given: argparse.Namespace) -> str:
    path = annotation_file(1, given.split, user_path(given.annotations))
    items = load_items(path)
    name = f"subsets_{given.split}_annotations"
    notes = [
        "Accuracy of regressions (scikit-learn) on box geometry, names or both, and of the commonest relation: each "
        f"image is predicted by what was fitted to the other {subset_scores.PARTS - 1} of {subset_scores.PARTS} parts. "
        + _IN_BRACKETS,
        *_WHAT,
        f"Data: {path.parent.name}/{path.name} (sha256 {sha256(path)[:10]}), {len(items):,} images. Seed {given.seed}.",
    ]
    table = subset_scores.annotation_table(items, given.seed)
    tables.write(name, "Hard scenes: how many, and what can be had without an image", table, notes, STUDY_REPORTS)
    return name


def _answering(systems: Iterable[str]) -> list[str]:
    """Name the systems that answer task 1 in a file of predictions."""
    return [name for name in systems if (PREDICTIONS / f"{name}.jsonl").is_file()]


def _by_occlusion(images: Iterable[str]) -> dict[str, set[str]]:
    """Sort drawn scenes by how much of them is hidden; empty for photos, of which nobody knows."""
    settings = params.load()
    number_of = {name: int(found[1]) for name in images if (found := _SCENE.fullmatch(name))}
    if settings.fetch.source != "scenes" or not number_of:
        return {}
    sorted_ = occlusion.by_occlusion(settings.seed, "test", number_of.values())
    return {subset: {name for name, number in number_of.items() if number in its} for subset, its in sorted_.items()}


def _refuse_other_answers(systems: Iterable[str], items: Sequence[Item]) -> None:
    """Raise ``VsdError`` where predictions, of which the confidence is, are not those that the submissions hold."""
    with TemporaryDirectory() as folder:
        for name in systems:
            rows = read_jsonl(PREDICTIONS / f"{name}.jsonl")
            answered = {row["img_id"] for row in rows}
            for path in export_submission(rows, [item for item in items if item.img_id in answered], Path(folder)):
                scored = SUBMISSIONS / name / path.name
                if not scored.is_file() or path.read_bytes() != scored.read_bytes():
                    raise VsdError(
                        f"{scored}: not the answers of {PREDICTIONS / name}.jsonl, which are of another run. "
                        "`dvc repro` brings all stages up to date"
                    )


def _systems(given: argparse.Namespace) -> str:
    submissions = {name: submission_in(SUBMISSIONS / name) for name in SYSTEMS if (SUBMISSIONS / name).is_dir()}
    if "lora" not in submissions:
        raise VsdError(f"{SUBMISSIONS}: no answers of a run. `dvc repro` makes them; --annotations needs none")
    references = load_references(annotation_file(1, "test"), annotation_file(2, "test"))
    _refuse_other_answers(_answering(submissions), references.items[1])
    engine = Engine(heap_gb=given.heap_gb)
    systems = score_systems(submissions, references, engine=engine, resamples=2, only_predicted=True).systems
    whole = {name: one for name, one in systems.items() if one.images == systems["lora"].images}
    fewer = sorted(systems.keys() - whole.keys())
    sizes = {sample.id: sample.size for sample in samples.load("test")}
    record = provenance.collect()
    hidden = _by_occlusion(sizes)
    meanings = definitions(1, 2)
    name = f"subsets_{record['profile']}"
    notes = [
        f"An image is in the subsets of its first pair. {_IN_BRACKETS}",
        *([f"Left out, for they answered fewer images: {', '.join(fewer)}."] if fewer else []),
        *_WHAT,
        *(f"{name}: {occlusion.SUBSETS[name]}" for name in hidden),
        *(f"{key}: {meanings[key.split('.')[0]][key.split('.')[1]]}" for key in subset_scores.SYSTEM_SCORES),
        "confidence: mean probability of the relation that was named, where task 1 was answered by likelihood "
        "(describe.task1); beside the accuracy it says whether the model is as sure as it is right.",
        provenance.sentence(record, len(systems["lora"].images)),
    ]
    sure = {name: subset_scores.confidences(read_jsonl(PREDICTIONS / f"{name}.jsonl")) for name in _answering(whole)}
    table = subset_scores.system_table(
        whole, references.items[1], given.seed, sizes, {name: found for name, found in sure.items() if found}, hidden
    )
    tables.write(name, "Hard scenes: scores by subset", table, notes, STUDY_REPORTS)
    return name
