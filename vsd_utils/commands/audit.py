"""Audit the metrics on people's captions: does a score fall when the relation is wrong?

    vsd audit                                             # the fetched val files; tables into reports/audit
    vsd audit --annotations FOLDER --split test --images 500 --output FOLDER

A person's caption is scored against the image's other captions, and so are copies of it with one thing wrong (names
swapped, another relation, a negation, another object) or in other words. Beside it the report card of the relation
checkers, and the template check: whether the conversations made of these files state their relation. Captions that
were never parsed here take SPICE about a minute for three thousand on two cores. Exit status 3 and the reasons on
standard error when a metric could not be computed, for want of Java, say: all others are written.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import sha256
from vsd_utils.common.paths import REPORTS, annotation_file, user_path
from vsd_utils.data import conversations, samples
from vsd_utils.data.annotations import SPLITS, Item, Versions, load_items, load_versions
from vsd_utils.data.splits import drawn_share
from vsd_utils.evaluate import audit_tables, relation_checkers, template_check
from vsd_utils.evaluate.audit_edits import EDITS, EditedCaption, edit_captions
from vsd_utils.evaluate.audit_ranking import ranking_table
from vsd_utils.evaluate.audit_scores import METRICS, PARTS, AuditScores, HeldOutCheckers, held_out_checkers, score_edits
from vsd_utils.evaluate.definitions import definitions
from vsd_utils.evaluate.sentence_scores import Engine
from vsd_utils.report import tables

INCOMPLETE = 3  # exit status when a metric could not be computed
_JUDGED, _EXAMPLES = 100, 5


class _Run(NamedTuple):
    """What all tables are made from, and the line below each of them."""

    images: Sequence[Versions]
    checkers: HeldOutCheckers
    line: str
    seed: int
    output: Path

    def write(self, name: str, title: str, table: pd.DataFrame, notes: Sequence[str]) -> None:
        """Write a table with its notes and where its numbers come from."""
        tables.write(name, title, table, [*notes, self.line], self.output)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take the files and how many images of them."""
    parser.add_argument(
        "--annotations", default="sources/vsd", metavar="FOLDER", help="with VSDv1 and VSDv2 (sources/vsd)"
    )
    parser.add_argument("--split", choices=SPLITS, default="val", help="which files of it (val)")
    parser.add_argument(
        "--output", type=Path, default=REPORTS / "audit", metavar="FOLDER", help="for the tables (reports/audit)"
    )
    parser.add_argument("--images", type=int, metavar="N", help="as many images, drawn by seed (all)")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn and of the resamples (0)")
    parser.add_argument("--java", type=Path, help="Java program or home (JAVA_HOME, else the one installed with us)")
    parser.add_argument("--heap-gb", type=float, default=4.0, help="most memory for SPICE's Java in GiB (4)")
    parser.add_argument("--no-spice", action="store_true", help="leave SPICE out")


def run(given: argparse.Namespace) -> int:
    """Score, write the tables, say where they are; returns the exit status."""
    if given.images is not None and given.images < PARTS:
        raise VsdError(f"--images {given.images}: expected {PARTS} at least. Or leave it out, for all images")
    audited = _prepared(given)
    engine = Engine(given.java, given.heap_gb, spice=not given.no_spice)
    captions = _edited(audited)
    audits = {name: score_edits(edited, audited.checkers, engine) for name, edited in captions.items()}
    _write_audit(audits, audited)
    _write_ranking(captions["v1"], engine, audited)
    _write_checkers(audited)
    _write_templates(audited)
    print(f"written: {given.output}")
    missing = [note for note in audit_tables.missing_notes(audits) if not given.no_spice or "SPICE was" not in note]
    for note in missing:
        print(note, file=sys.stderr)
    return INCOMPLETE if missing else 0


def _prepared(given: argparse.Namespace) -> _Run:
    """Read the files, draw the images and train the learned checker; raises ``VsdError`` for unusable files."""
    folder = user_path(given.annotations)
    files = [annotation_file(version, given.split, folder) for version in (1, 2)]
    if absent := [path for path in files if not path.is_file()]:
        raise VsdError(
            f"{absent[0]}: is not there. `vsd profile boxes`, then `vsd fetch` brings the authors' files into "
            "sources/vsd; or name another folder with VSDv1 and VSDv2: --annotations FOLDER"
        )
    images = load_versions(*files)
    undrawn: list[Item] = []
    if given.images is not None:
        chosen = drawn_share([image.v1.img_id for image in images], given.images, given.seed)
        undrawn = [image.v1 for image in images if image.v1.img_id not in chosen]
        images = [image for image in images if image.v1.img_id in chosen]
    train_file = annotation_file(1, "train", folder)
    train = load_items(train_file) if given.split != "train" and train_file.is_file() else None
    everywhere = len(images) + len(undrawn)
    checkers = held_out_checkers([image.v1 for image in images], given.seed, train or undrawn or None)
    named = ", ".join(f"{path.parent.name}/{path.name} (sha256 {sha256(path)[:10]})" for path in files)
    trained = (
        f"on {train_file.parent.name}/{train_file.name}"
        if train is not None
        else f"on the v1 captions of the other {len(undrawn):,} images of that file"
        if undrawn
        else f"on the v1 captions of these images in {PARTS} parts, each read by the one trained on the others"
    )
    line = (
        f"Data: the VSD authors' {named}; {len(images):,} of {everywhere:,} images, of which those with one triple "
        f"are used, one caption of each. Learned checker: trained {trained}. Seed {given.seed}."
    )
    return _Run(images, checkers, line, given.seed, given.output)


def _edited(audited: _Run) -> dict[str, list[EditedCaption]]:
    """Edit v1's captions and v2's; both are scored against v1's other captions."""
    first = [image.v1 for image in audited.images]
    known = [item.captions for item in first]
    written = {"v1": known, "v2": [image.v2.captions for image in audited.images]}
    return {name: edit_captions(first, texts, known, audited.seed) for name, texts in written.items()}


def _notes(audits: Mapping[str, AuditScores]) -> list[str]:
    """Say how captions were chosen, what the edits are and what each metric is."""
    meanings = definitions(1, 2)["task2"]
    return [
        "Scored one by one against the image's other v1 captions, identical ones left out; v1, v2: whose caption was "
        "edited. In brackets: 95 % bootstrap interval over images; where all go one way, the exact binomial one.",
        "Only captions in which the rules see the annotated relation are edited, and the synonyms are phrases that the "
        "rules know, so relation_in_sentence gives these 100 and the wrong copies 0 by construction.",
        *(f"{name}: {text}" for name, text in EDITS.items()),
        *(f"{name}: {meanings[name]}" for name in METRICS),
        *audit_tables.missing_notes(audits),
    ]


def _write_audit(audits: Mapping[str, AuditScores], audited: _Run) -> None:
    """Write what each metric prefers, how well it tells captions from copies, and what an edit costs."""
    seed, notes = audited.seed, _notes(audits)
    few = f"Empty: no such copy, or fewer than {audit_tables.FEWEST} captions."
    for name, title, table, first in (
        (
            "preference",
            "How often a caption outscores its own wrong copy, in %",
            audit_tables.preference_table(audits, seed),
            "ties: in % of the pairs; half of them go each way by chance.",
        ),
        (
            "synonym_preference",
            "How often a caption with a synonym of its relation outscores a wrong copy, in %",
            audit_tables.preference_table(audits, seed, "synonym"),
            "ties: in % of the pairs. By chance the two halves are equal; a score of the meaning would give 100.",
        ),
        (
            "cost",
            "Points that a copy loses on average",
            audit_tables.cost_table(audits, seed),
            "A synonym should cost nothing, each other edit something.",
        ),
        (
            "synonym_cost",
            "Points that a synonym of the relation costs, by relation",
            audit_tables.synonym_table(audits, seed),
            few,
        ),
        (
            "auc",
            "Captions told from wrong copies: area under the ROC curve, in %",
            audit_tables.auc_table(audits, seed),
            f"Over captions and copies of all images, ties one half: 50 is chance. "
            f"[100.0, 100.0]: not one goes the other way. {few}",
        ),
    ):
        audited.write(name, title, table, [first, *notes])
    examples = audit_tables.example_table(audits["v1"].captions, _JUDGED, seed)
    about = [*(f"{name}: {text}" for name, text in EDITS.items()), "The captions are the VSD authors', in lower case."]
    audited.write("edited_captions", "Edited captions, for a person to judge", examples, about)


def _write_ranking(captions: Sequence[EditedCaption], engine: Engine, audited: _Run) -> None:
    audited.write(
        "ranking",
        "Systems that differ in the relation alone, ranked by each metric",
        ranking_table(captions, audited.checkers, engine),
        [
            f"{len(captions):,} images, corpus scores against the image's other v1 captions; in parentheses the rank.",
            "relation wrong: the opposite, where it has none a relation of another kind; template: annotated names and "
            "relation filled in.",
            "pairs in the wrong order: a system with all relations wrong scores no less than one with all right.",
        ],
    )


def _write_checkers(audited: _Run) -> None:
    audited.write(
        "relation_checkers",
        "Report card of the relation checkers",
        relation_checkers.card_table(audited.images, audited.checkers, audited.seed),
        [*relation_checkers.NOTES],
    )


def _write_templates(audited: _Run) -> None:
    records = [
        conversations.llava_record(conversation)
        for image in audited.images
        for conversation in conversations.converse(samples.outline(image, "val", (1, 1)), 0)
    ]
    single: list[Item] = [image.v1 for image in audited.images]
    check = template_check.check_templates(records, audited.checkers, [item.img_id for item in single])
    audited.write(
        "template_check",
        "Template check: what can be read back from the conversations, in %",
        template_check.share_table(check),
        [*template_check.NOTES],
    )
    audited.write(
        "template_check_examples",
        "Template check: sentences in which neither checker reads the pair's relation",
        template_check.example_table(check, _EXAMPLES, audited.seed),
        ["Drawn by seed from those that neither the rules nor the learned checker read."],
    )
