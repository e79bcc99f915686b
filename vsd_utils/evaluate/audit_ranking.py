"""How metrics rank systems of which each has a twin that differs in the relation alone, which is wrong.

The systems need no model: what a person wrote, and templates filled with the annotated relation. A metric that sees
relations ranks every system that has them right above every twin that has them wrong.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from vsd_utils.evaluate.audit_edits import EditedCaption
from vsd_utils.evaluate.audit_scores import LEARNED, METRICS, HeldOutCheckers
from vsd_utils.evaluate.sentence_scores import Engine, SentenceScores, SentenceTask, score_sentences
from vsd_utils.metrics.measure import mean_measure
from vsd_utils.metrics.relation_learned import Claim

_TEMPLATES = {
    "template, bare": "{s} {p} {o}.",
    "template, the": "the {s} is {p} the {o}.",
}
_PERSON = "a person's caption"
_NAMES_ONLY = "both names, no relation"
_WRONG = ", relation wrong"
NOTES = (
    "relation wrong: the opposite, where it has none a relation of another kind; template: annotated names and "
    "relation filled in.",
    "pairs in the wrong order: a system with all relations wrong scores no less than one with all right.",
)


def system_sentences(captions: Sequence[EditedCaption]) -> dict[str, list[str]]:
    """Write each system's sentences, one an image; a wrong relation is the opposite, else one of another kind."""
    sentences: dict[str, list[str]] = {_PERSON: [], _PERSON + _WRONG: [], _NAMES_ONLY: []}
    sentences |= {name + ending: [] for name in _TEMPLATES for ending in ("", _WRONG)}
    for caption in captions:
        edit = "opposite relation" if "opposite relation" in caption.copies else "another relation"
        wrong = caption.relations[edit]
        sentences[_PERSON].append(caption.original)
        sentences[_PERSON + _WRONG].append(caption.copies[edit])
        sentences[_NAMES_ONLY].append(f"{caption.subject} and {caption.object}.")
        for name, form in _TEMPLATES.items():
            for ending, relation in (("", caption.relation), (_WRONG, wrong)):
                sentences[name + ending].append(form.format(s=caption.subject, p=relation, o=caption.object))
    return sentences


def ranking_table(captions: Sequence[EditedCaption], checkers: HeldOutCheckers, engine: Engine) -> pd.DataFrame:
    """Score and rank each system by each metric: "63.9 (2)". The last row counts pairs in the wrong order.

    Such a pair is a system with right relations and one with wrong relations that scores at least as much.
    """
    sentences = system_sentences(captions)
    facts = [(one.subject, one.object, frozenset({one.relation})) for one in captions]
    references = [one.references for one in captions]
    tasks = {name: SentenceTask([[text] for text in texts], references, facts) for name, texts in sentences.items()}
    scored = score_sentences(tasks, engine)
    values = {name: _values(scored[name], captions, texts, checkers) for name, texts in sentences.items()}
    table = pd.DataFrame({metric: _ranked(values, metric) for metric in METRICS})
    table.index.name = "system"
    return table


def _values(
    scored: SentenceScores, captions: Sequence[EditedCaption], texts: Sequence[str], checkers: HeldOutCheckers
) -> dict[str, float]:
    claims = [(one.img_id, Claim(text, one.subject, one.object)) for one, text in zip(captions, texts, strict=True)]
    read = checkers.relations(claims)
    learned = np.array([float(answer == one.relation) for answer, one in zip(read, captions, strict=True)])
    return {metric: scored.measures[metric].value for metric in METRICS if metric in scored.measures} | {
        LEARNED: mean_measure(learned).value
    }


def _ranked(values: Mapping[str, Mapping[str, float]], metric: str) -> dict[str, str]:
    found = {name: each[metric] for name, each in values.items() if metric in each}
    shown = {
        name: f"{value:.1f} ({1 + sum(other > value for other in found.values())})" for name, value in found.items()
    }
    right = [name for name in found if not name.endswith(_WRONG) and name != _NAMES_ONLY]
    wrong = [name for name in found if name.endswith(_WRONG)]
    reversed_pairs = sum(found[bad] >= found[good] for good in right for bad in wrong)
    count = f"{reversed_pairs} of {len(right) * len(wrong)}" if found else ""
    return {name: shown.get(name, "") for name in values} | {"pairs in the wrong order": count}
