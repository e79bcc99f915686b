"""A blind sheet of rewritten sentences, for a person to say whether they state the relation that they should.

The rules that accept a rewrite cannot also say how good rewrites are. So sentences that the refiner wrote, and some
that the tuned model wrote, are shuffled; the sheet does not say whose a sentence is, a key beside it does.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from vsd_utils.common.errors import VsdError
from vsd_utils.metrics.relation_checker import states_relation
from vsd_utils.metrics.relation_learned import Claim, LearnedChecker

REWRITES, ORIGINALS = 50, 25
JUDGEMENT = "states it? yes or no"
_REFINER, _MODEL = "refiner", "tuned model"
_COLUMNS = ("number", "subject", "object", "relation", "sentence", JUDGEMENT)
_ANSWERS = {"yes": True, "no": False}


def make_sheet(refined: Sequence[Mapping[str, Any]], seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw sentences of accepted images and give sheet and key, each with one row a sentence, by its number.

    ``refined`` are rows of ``data/refined`` (``refine/selection.py``). Raises ``VsdError`` where none was accepted.
    """
    generator = random.Random(seed)
    accepted = [row for row in refined if row["accepted"]]
    if not accepted:
        raise VsdError("no rewrite was accepted, so there is nothing to judge")
    rewritten = [(row, text) for row in accepted for text in row["sentences"] if text not in row["original"]]
    written = [(row, text) for row in accepted for text in row["original"]]
    drawn = [
        (row, text, by)
        for by, texts, count in ((_REFINER, rewritten, REWRITES), (_MODEL, written, ORIGINALS))
        for row, text in generator.sample(texts, min(count, len(texts)))
    ]
    generator.shuffle(drawn)
    sheet = pd.DataFrame(
        [
            {
                "number": str(number),
                "subject": row["subject"],
                "object": row["object"],
                "relation": row["label"],
                "sentence": text,
                JUDGEMENT: "",
            }
            for number, (row, text, _) in enumerate(drawn, 1)
        ]
    )
    key = pd.DataFrame(
        [
            {"number": str(number), "written by": by, "img_id": row["img_id"]}
            for number, (row, _, by) in enumerate(drawn, 1)
        ]
    )
    return sheet, key


def judged_table(
    judged: Sequence[Mapping[str, str]], key: Sequence[Mapping[str, str]], learned: LearnedChecker
) -> pd.DataFrame:
    """Show by writer how many sentences state their relation: by the person, by the rules, by the learned checker.

    Beside both checkers stands Cohen's kappa with the person. Raises ``VsdError`` naming the rows whose judgement is
    neither yes nor no, and for a sheet that is not the key's.
    """
    if absent := [name for name in _COLUMNS if any(row.get(name) is None for row in judged)]:
        raise VsdError(f"the sheet has no column {', '.join(absent)}")
    if [row["number"] for row in judged] != [row["number"] for row in key]:
        raise VsdError(f"the sheet has {len(judged)} rows, the key {len(key)}, or their numbers differ")
    open_rows = [row["number"] for row in judged if row[JUDGEMENT].strip().lower() not in _ANSWERS]
    if open_rows:
        raise VsdError(f"rows {', '.join(open_rows[:10])}: {JUDGEMENT!r} is neither yes nor no")
    claims = [Claim(row["sentence"], row["subject"], row["object"]) for row in judged]
    frame = pd.DataFrame(
        {
            "by": [row["written by"] for row in key],
            "person": [_ANSWERS[row[JUDGEMENT].strip().lower()] for row in judged],
            "rules": [
                states_relation(claim.sentence, claim.subject, claim.object, row["relation"])
                for claim, row in zip(claims, judged, strict=True)
            ],
            "learned": [found == row["relation"] for found, row in zip(learned.relations(claims), judged, strict=True)],
        }
    )
    rows = []
    for writer in (_MODEL, _REFINER):
        of_writer = frame[frame["by"] == writer]
        row = {"written by": writer, "sentences": str(len(of_writer))}
        row |= {name: f"{100 * of_writer[name].mean():.1f}" for name in ("person", "rules", "learned")}
        for name in ("rules", "learned"):
            kappa = cohen_kappa_score(of_writer["person"], of_writer[name], labels=[False, True])
            row[f"kappa, {name}"] = "" if pd.isna(kappa) else f"{kappa:.2f}"
        rows.append(row)
    return pd.DataFrame(rows)
