"""The report card of a relation checker: how often it answers, how often rightly, and what it is fooled by.

Each caption is taken to state the relation annotated for its pair, which people's captions do not always do, so a
perfect checker does not have 100. Two tests say what is accepted wrongly: the roles of the names exchanged, and the
relation's label in the caption replaced by another one.
"""

import functools
import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from vsd_utils.data.annotations import RELATIONS, Item
from vsd_utils.metrics import english
from vsd_utils.metrics.relation_checker import statement
from vsd_utils.metrics.relation_learned import Claim

# For each claim, with its image, the relations that a checker reads in it; empty where it says nothing.
Checker = Callable[[Sequence[tuple[str, Claim]]], list[frozenset[str]]]
COLUMNS = (
    *("captions", "sees relation", "coverage", "risk"),
    *("roles exchanged", "exchanged accepted", "label replaced", "replaced accepted"),
)


class Case(NamedTuple):
    """Hold a caption, the pair that it is about, and the relation annotated for the pair."""

    img_id: str
    claim: Claim
    relation: str


def cases_of(items: Sequence[Item], captions: Sequence[Sequence[str]]) -> list[Case]:
    """Pair the ``captions``, image by image, with their image's triple, where it has one only."""
    return [
        Case(item.img_id, Claim(caption, triple.s, triple.o), triple.p)
        for item, written in zip(items, captions, strict=True)
        if len(item.triple_list) == 1
        for triple in item.triple_list
        for caption in written
    ]


def by_rules(claims: Sequence[tuple[str, Claim]]) -> list[frozenset[str]]:
    """Read relations by the rules."""
    return [_stated(claim) for _, claim in claims]


@functools.lru_cache(maxsize=1 << 17)
def _stated(claim: Claim) -> frozenset[str]:
    return statement(*claim).relations


class Examined(NamedTuple):
    """Hold what a checker made of a case: any answer, the right one, and for each test whether it accepted the case.

    A test that the case is not fit for is None.
    """

    spoken: bool
    right: bool
    exchanged: bool | None
    replaced: bool | None


def examine(cases: Sequence[Case], checker: Checker, seed: int) -> list[Examined]:
    """Ask a checker about each case, about the case with the roles exchanged, and with another label in its place.

    Not exchanged are next to, which is the same both ways, and pairs of one name; a label is replaced, drawn by seed,
    where the caption holds it once.
    """
    generator = random.Random(seed)
    exchanged = [case._replace(claim=case.claim.exchanged()) if _one_way(case) else None for case in cases]
    replaced = [_with_another_label(case, generator) for case in cases]
    asked = [case for group in (cases, exchanged, replaced) for case in group if case]
    answers = iter(checker([(case.img_id, case.claim) for case in asked]))
    plain = [next(answers) for _ in cases]
    tests = [[case.relation in next(answers) if case else None for case in group] for group in (exchanged, replaced)]
    return [
        Examined(bool(answer), case.relation in answer, *accepted)
        for case, answer, *accepted in zip(cases, plain, *tests, strict=True)
    ]


def report_card(examined: Sequence[Examined]) -> dict[str, str]:
    """Sum up: numbers of captions, and shares in %, empty where there is nothing to share.

    "sees relation": of all captions; "coverage": those with any answer; "risk": those of the answered whose relation
    is not in the answer. "accepted": the annotated relation is seen although the caption does not state it.
    """
    right, spoken = (sum(getattr(one, name) for one in examined) for name in ("right", "spoken"))
    values = [str(len(examined)), _percent(right, len(examined)), _percent(spoken, len(examined))]
    values.append(_percent(spoken - right, spoken))
    for test in ("exchanged", "replaced"):
        accepted = [getattr(one, test) for one in examined if getattr(one, test) is not None]
        values += [str(len(accepted)), _percent(sum(accepted), len(accepted))]
    return dict(zip(COLUMNS, values, strict=True))


def _one_way(case: Case) -> bool:
    return case.relation != "next to" and not english.same_name(case.claim.subject, case.claim.object)


def _with_another_label(case: Case, generator: random.Random) -> Case | None:
    """Replace the relation's label by another one's; None where the caption does not hold it once."""
    label = re.compile(rf"(?<!\w){re.escape(case.relation)}(?!\w)", re.IGNORECASE)
    if len(label.findall(case.claim.sentence)) != 1:
        return None
    # "on" and "above" are not told apart: both are said of what the inverse "under" is said of.
    near = {"on", "above"} if case.relation in ("on", "above") else {case.relation}
    other = generator.choice([relation for relation in RELATIONS if relation not in near])
    return case._replace(claim=case.claim._replace(sentence=label.sub(other, case.claim.sentence)))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f}" if whole else ""
