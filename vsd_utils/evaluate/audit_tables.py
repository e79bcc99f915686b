"""The audit's numbers as tables: what each metric prefers, how well it tells right from wrong, what an edit costs."""

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.evaluate.audit_edits import EDITS, ORIGINAL, WRONG, EditedCaption
from vsd_utils.evaluate.audit_scores import METRICS, AuditScores
from vsd_utils.evaluate.definitions import definitions
from vsd_utils.metrics.auc import auc_interval, compared
from vsd_utils.metrics.bootstrap import intervals
from vsd_utils.metrics.measure import Array, mean_measure

FEWEST = 20  # captions, below which a relation's cell is left empty
NOT_COMPUTED = "not_computed"  # name of the table that says so
_MATCHED = "synonym, where there is an opposite"
_FEW = f"Empty: no such copy, or fewer than {FEWEST} captions."
Audits = Mapping[str, AuditScores]  # by whose captions were edited: "v1", "v2"


class NamedTable(NamedTuple):
    """Hold a table with the name of its files, its title and what has to be known to read it."""

    name: str
    title: str
    table: pd.DataFrame
    note: str


def score_tables(audits: Audits, seed: int) -> list[NamedTable]:
    """Make all tables of the scores: what each metric prefers, how well it tells copies, what an edit costs."""
    return [
        NamedTable(
            "preference",
            "How often a caption outscores its own wrong copy, in %",
            preference_table(audits, seed),
            "ties: in % of the pairs; half of them go each way by chance.",
        ),
        NamedTable(
            "synonym_preference",
            "How often a caption with a synonym of its relation outscores a wrong copy, in %",
            preference_table(audits, seed, "synonym"),
            "ties: in % of the pairs. By chance the two halves are equal; a score of the meaning would give 100.",
        ),
        NamedTable(
            "cost",
            "Points that a copy loses on average",
            cost_table(audits, seed),
            "A synonym should cost nothing, each other edit something.",
        ),
        NamedTable(
            "synonym_cost",
            "Points that a synonym of the relation costs, by relation",
            synonym_table(audits, seed),
            _FEW,
        ),
        NamedTable(
            "auc",
            "Captions told from wrong copies: area under the ROC curve, in %",
            auc_table(audits, seed),
            f"Over captions and copies of all images, ties one half: 50 is chance. "
            f"[100.0, 100.0]: not one goes the other way. {_FEW}",
        ),
    ]


def notes(audits: Audits) -> list[str]:
    """Say how captions were chosen, what the edits are and what each metric is."""
    meanings = definitions(1, 2)["task2"]
    return [
        "Scored one by one against the image's other v1 captions, identical ones left out; v1, v2: whose caption was "
        "edited. In brackets: 95 % bootstrap interval over images; where all go one way, the exact binomial one.",
        "Only captions in which the rules see the annotated relation are edited, and the synonyms are phrases that the "
        "rules know, so relation_in_sentence gives these 100 and the wrong copies 0 by construction.",
        *edit_notes(),
        *(f"{name}: {meanings[name]}" for name in METRICS),
        *(f"Not computed: {row['metric']}: {row['reason']}" for row in missing_table(audits).to_dict("records")),
    ]


def edit_notes() -> list[str]:
    """Say what each edit does."""
    return [f"{name}: {text}" for name, text in EDITS.items()]


def areas(audit: AuditScores, seed: int) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Give by edit and metric the area under the ROC curve of all captions, in %, and its 95 % interval."""
    found: dict[str, dict[str, tuple[float, float, float]]] = {edit: {} for edit in WRONG}
    for edit in WRONG:
        for metric in (name for name in METRICS if name in audit.scores):
            right, wrong = audit.pairs(metric, edit)
            if len(right) >= FEWEST and (area := auc_interval(right, wrong, seed=seed)):
                found[edit][metric] = area
    return found


def preference_table(audits: Audits, seed: int, right_column: str = ORIGINAL) -> pd.DataFrame:
    """Show how often a caption outscores its wrong copy, in %, with 95 % interval, and how often they are equal.

    With ``right_column`` "synonym" it is the caption with a synonym of its relation that is right.
    """
    rows = []
    for name, metric, audit in _metrics(audits):
        row = {"captions": name, "metric": metric}
        for edit in WRONG:
            higher, equal = compared(*audit.pairs(metric, edit, right_column=right_column))
            row[edit] = f"{_share(higher, seed)}, ties {100 * equal.mean():.1f}" if len(higher) else ""
        rows.append(row)
    return pd.DataFrame([*_counts(audits), *rows])[["captions", "metric", *WRONG]]


def cost_table(audits: Audits, seed: int) -> pd.DataFrame:
    """Show how many points a copy loses on average, with 95 % interval: the synonym, which should be 0, first.

    Beside it the synonym's cost of the captions alone that have an opposite, which compares with the opposite's.
    """
    rows = []
    for name, metric, audit in _metrics(audits):
        row = {"captions": name, "metric": metric}
        for edit in ("synonym", *WRONG):
            right, wrong = audit.pairs(metric, edit)
            row[edit] = _with_interval(right - wrong, seed, 1.0) if len(right) else ""
        right, wrong = audit.pairs(metric, "synonym", having="opposite relation")
        row[_MATCHED] = _with_interval(right - wrong, seed, 1.0) if len(right) else ""
        rows.append(row)
    counts = [row | {_MATCHED: row["opposite relation"]} for row in _counts(audits)]
    return pd.DataFrame([*counts, *rows])[["captions", "metric", "synonym", _MATCHED, *WRONG]]


def auc_table(audits: Audits, seed: int) -> pd.DataFrame:
    """Show the area under the ROC curve, captions against copies, of all and of each relation, with 95 % intervals.

    Empty where a relation has fewer than ``FEWEST`` captions with such a copy.
    """
    rows = []
    for name, metric, audit in _metrics(audits):
        for edit in WRONG:
            row = {"captions": name, "edit": edit, "metric": metric}
            for relation in (None, *RELATIONS):
                right, wrong = audit.pairs(metric, edit, relation)
                found = auc_interval(right, wrong, seed=seed) if len(right) >= FEWEST else None
                row[relation or "all"] = f"{found[0]:.1f} [{found[1]:.1f}, {found[2]:.1f}]" if found else ""
            rows.append(row)
    return pd.DataFrame(rows).sort_values(["captions", "edit"], kind="stable", key=_order, ignore_index=True)


def synonym_table(audits: Audits, seed: int) -> pd.DataFrame:
    """Show by relation how many points its synonym costs, with 95 % intervals; empty below ``FEWEST`` captions."""
    rows = []
    for name, metric, audit in _metrics(audits):
        row = {"captions": name, "metric": metric}
        for relation in RELATIONS:
            right, wrong = audit.pairs(metric, "synonym", relation)
            row[relation] = _with_interval(right - wrong, seed, 1.0) if len(right) >= FEWEST else ""
        rows.append(row)
    return pd.DataFrame(rows)


def example_table(captions: Sequence[EditedCaption], count: int, seed: int) -> pd.DataFrame:
    """Draw edited captions for a person to judge, as many of each edit, with a column to write into."""
    generator = random.Random(seed)
    rows = []
    for place, edit in enumerate(EDITS):
        share = count // len(EDITS) + (place < count % len(EDITS))
        having = [caption for caption in captions if edit in caption.copies]
        for caption in generator.sample(having, min(share, len(having))):
            row = {"edit": edit, "caption": caption.original, "copy": caption.copies[edit]}
            rows.append(row | {"grammatical? true?": ""})
    return pd.DataFrame(rows, columns=["edit", "caption", "copy", "grammatical? true?"])


def missing_table(audits: Audits) -> pd.DataFrame:
    """List the metrics that were not computed, and why: one row a reason."""
    reasons: dict[str, list[str]] = {}
    for audit in audits.values():
        for metric, reason in audit.missing.items():
            if metric not in reasons.setdefault(reason, []):
                reasons[reason].append(metric)
    rows = [{"metric": ", ".join(names), "reason": reason} for reason, names in reasons.items()]
    return pd.DataFrame(rows, columns=["metric", "reason"])


def _metrics(audits: Audits) -> Iterator[tuple[str, str, AuditScores]]:
    for name, audit in audits.items():
        yield from ((name, metric, audit) for metric in METRICS if metric in audit.scores)


def _counts(audits: Audits) -> list[dict[str, str]]:
    return [
        {"captions": name, "metric": "number of captions"}
        | {edit: str(sum(edit in caption.copies for caption in audit.captions)) for edit in EDITS if edit in WRONG}
        | {"synonym": str(sum("synonym" in caption.copies for caption in audit.captions))}
        for name, audit in audits.items()
    ]


def _order(column: pd.Series) -> pd.Series:
    return column.map({edit: place for place, edit in enumerate(WRONG)}) if column.name == "edit" else column


def _share(found: Array, seed: int) -> str:
    """Show how many are found, in %; where all or none are, every resample is alike: the exact interval then."""
    if len(found) < 2 or 0 < found.mean() < 1:
        return _with_interval(found, seed, 100.0)
    exact = binomtest(int(found.sum()), len(found)).proportion_ci()
    return f"{100 * found.mean():.1f} [{100 * exact.low:.1f}, {100 * exact.high:.1f}]"


def _with_interval(values: Array, seed: int, scale: float) -> str:
    mean = scale * float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.1f}"
    low, high = intervals({"mean": mean_measure(values, scale)}, seed=seed)["mean"]
    return f"{mean:.1f} [{low:.1f}, {high:.1f}]"
