"""Rewrites by grammar alone, without any model: the baseline that a chat model has to beat.

The pair and the predicted relation are put into two forms, from either side. Neither gives a name an "is" or an "a", so
both stay grammatical with names in the plural.
"""

from collections.abc import Mapping
from typing import Any

from vsd_utils.data.annotations import INVERSE

# The same relation, said of the object: "the box is under the ball" for "the ball is on the box". "in" has none that is
# one preposition.
FROM_THE_OBJECT = {"on": "under", **INVERSE}
_FORMS = (
    "The {s} can be seen {p} the {o}.",
    "{P} the {o} can be found the {s}.",
)


def rewrites(row: Mapping[str, Any]) -> list[str]:
    """Write the sentences of a task 3 row with "label" in other forms; none where the label is no relation.

    First of the subject, then, where the relation can be said so, of the object.
    """
    sides = [(row["subject"], row["label"], row["object"])]
    if row["label"] in FROM_THE_OBJECT:
        sides.append((row["object"], FROM_THE_OBJECT[row["label"]], row["subject"]))
    elif row["label"] != "in":
        return []
    return [
        form.format(s=subject, p=relation, P=relation[:1].upper() + relation[1:], o=object_)
        for subject, relation, object_ in sides
        for form in _FORMS
    ]
