"""The report cards of both relation checkers side by side, on captions that neither was made from."""

from collections.abc import Sequence

import pandas as pd

from vsd_utils.data.annotations import Versions
from vsd_utils.evaluate.audit_scores import HeldOutCheckers
from vsd_utils.metrics.relation_learned import Claim, mask
from vsd_utils.metrics.relation_report_card import COLUMNS, by_rules, cases_of, examine, report_card

NOTES = (
    "Shares in %, of captions of images with one triple; each caption is taken to state the annotated relation, which "
    "not all do. Neither checker reads a caption that lacks one of the names.",
    "sees relation: of all captions; coverage: captions with any answer; risk: answers without the annotated relation.",
    "exchanged accepted: sees the relation with the roles of the two names exchanged (not next to); replaced accepted: "
    "sees it where another label stands in its place.",
    "learned: trained on v1 captions alone, never on the image that it reads; masked captions seen: the same words, "
    "names masked, were written for a training image.",
)


def card_table(images: Sequence[Versions], checkers: HeldOutCheckers, seed: int) -> pd.DataFrame:
    """Examine rules and learned checker on the captions of v1 and of v2, seen and unseen masked captions apart.

    Raises ``VsdError`` when the learned checker was trained on one of the images.
    """

    def by_learning(claims: Sequence[tuple[str, Claim]]) -> list[frozenset[str]]:
        return [frozenset({answer} if answer else ()) for answer in checkers.relations(claims)]

    rows = []
    items = [image.v1 for image in images]
    for name, written in (("v1", [i.v1.captions for i in images]), ("v2", [i.v2.captions for i in images])):
        cases = cases_of(items, written)
        seen = [checkers.of(case.img_id).knows(case.claim) for case in cases]
        parts = {
            "all": [True] * len(cases),
            "both names in the caption": [bool(mask(case.claim)) for case in cases],
            "masked caption seen in training": seen,
            "masked caption not seen": [not known for known in seen],
        }
        cards = {"rules": examine(cases, by_rules, seed), "learned": examine(cases, by_learning, seed)}
        for part, chosen in parts.items():
            for label, examined in cards.items():
                card = report_card([one for one, taken in zip(examined, chosen, strict=True) if taken])
                rows.append({"captions of": name, "which": part, "checker": label} | card)
    return pd.DataFrame(rows, columns=["captions of", "which", "checker", *COLUMNS])
