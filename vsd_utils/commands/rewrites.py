"""Have a person judge rewrites: a blind sheet of sentences, and what a filled one says.

    vsd rewrites                            # reports/studies/rewrites_sheet.csv, and rewrites_key.csv beside it
    vsd rewrites --judged FILLED.csv        # reports/studies/rewrites_judged: the person beside both checkers

Of the run of this checkout: 50 sentences of the refiner and 25 of the tuned model, shuffled, with the relation that
each should state. Fill the last column with yes or no. The key says who wrote which.
"""

import argparse
from pathlib import Path

from vsd_utils.common.errors import VsdError
from vsd_utils.common.files import read_jsonl
from vsd_utils.common.paths import REFINED, STUDY_REPORTS, annotation_file
from vsd_utils.data.annotations import load_items
from vsd_utils.evaluate import rewrite_sheet
from vsd_utils.metrics.relation_learned import train_checker
from vsd_utils.report import provenance, tables

_SHEET, _KEY, _JUDGED = "rewrites_sheet", "rewrites_key", "rewrites_judged"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take a filled sheet and the seed of a new one."""
    parser.add_argument("--judged", type=Path, metavar="FILE", help="a filled sheet, to be compared with the checkers")
    parser.add_argument("--seed", type=int, default=0, help="of the sentences that are drawn (0)")


def run(given: argparse.Namespace) -> int:
    """Write the sheet and its key, or what a filled sheet says."""
    if given.judged:
        name = _judged(given.judged)
    else:
        name = _SHEET
        rows = REFINED / "lora_refined.jsonl"
        if not rows.is_file():
            raise VsdError(f"{rows}: no such file. `dvc repro` makes it")
        sheet, key = rewrite_sheet.make_sheet(read_jsonl(rows), given.seed)
        record = provenance.collect()
        line = f"Drawn by seed {given.seed}. {provenance.sentence(record, record['images']['test'])}"
        tables.write(_SHEET, "Does each sentence state its relation?", sheet, [line], STUDY_REPORTS)
        tables.write(_KEY, "Who wrote each sentence of the sheet", key, [line], STUDY_REPORTS)
    print(f"written: {STUDY_REPORTS / name}.csv, .md, .tex")
    return 0


def _judged(path: Path) -> str:
    if not path.is_file():
        raise VsdError(f"{path}: no such file. `vsd rewrites` makes a sheet to fill")
    if path.suffix != ".csv" or not path.read_text(encoding="utf-8", errors="replace").strip():
        raise VsdError(f"{path}: expected {_SHEET}.csv with its last column filled, saved as CSV")
    if not (STUDY_REPORTS / f"{_KEY}.csv").is_file():
        raise VsdError(f"{STUDY_REPORTS / _KEY}.csv: no such file. `vsd rewrites` makes it with the sheet")
    learned = train_checker(load_items(annotation_file(1, "train")))
    judged = tables.read_rows(path.stem, path.parent)
    table = rewrite_sheet.judged_table(judged, tables.read_rows(_KEY, STUDY_REPORTS), learned)
    notes = [
        "Share of sentences that state the relation they should, in %: by the person, by the rules (which accepted the "
        "rewrites), by the learned checker (which took no part). kappa: Cohen's, with the person; empty where one of "
        "the two says the same of all."
    ]
    tables.write(_JUDGED, "Rewrites judged by a person", table, notes, STUDY_REPORTS)
    return _JUDGED
