"""Copies of a person's caption in which one thing is wrong, or said in other words, all of them grammatical.

Of each edit the caption says what a metric should answer: all but the synonym make it false (another relation almost
always: two objects may stand in two relations at once, so it is drawn from relations of another kind).
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from vsd_utils.data.annotations import INVERSE, Item, Triple
from vsd_utils.evaluate.audit_captions import NounPhrase, Number, ReadCaption, folded, noun_numbers, read_caption
from vsd_utils.metrics.relation_checker import states_relation

ORIGINAL = "original"
EDITS = {
    "names swapped": "the two names change places; not where the relation is next to, which stays true",
    "opposite relation": "the relation by its opposite: on by under, under by above, above by under, behind by in "
    "front of, left by right; in and next to have none",
    "another relation": "the relation by one that can hardly be true as well and that no other caption of the image "
    "states, drawn by seed: on and in by one of the sides, under by on, in or a side, a side by on, in or under",
    "negation": "not before the relation, or no for a after there is",
    "another object": "the second name by an object of another image that is of the same number, drawn by seed",
    "synonym": "the relation by another way to say it: on by on top of, in by inside, next to by beside, under by "
    "underneath, above by over, behind by in back of, in front of by ahead of, to the left of by on the left side of; "
    "not the same everywhere (a picture on a wall is not on top of it)",
}
WRONG = tuple(name for name in EDITS if name != "synonym")
OPPOSITES: Mapping[str, str] = {"on": "under"} | {one: other for one, other in INVERSE.items() if one != other}
SYNONYMS: Mapping[str, str] = {
    "on": "on top of",
    "in": "inside",
    "next to": "beside",
    "under": "underneath",
    "above": "over",
    "behind": "in back of",
    "in front of": "ahead of",
    "to the left of": "on the left side of",
    "to the right of": "on the right side of",
}
_BESIDE = ("next to", "to the left of", "to the right of")
_SIDES = (*_BESIDE, "behind", "in front of")
# What is on something may be said to be in it, and what is above something behind it, so those are never drawn.
_ANOTHER: Mapping[str, tuple[str, ...]] = {
    "on": _SIDES,
    "in": _SIDES,
    "under": ("on", "in", *_BESIDE),
    "above": ("in", *_BESIDE),
    "behind": ("on", "in", "under"),
    "in front of": ("on", "in", "under"),
    **dict.fromkeys(_BESIDE, ("on", "in", "under", "above")),
}


class EditedCaption(NamedTuple):
    """Hold an image's caption and its copies by edit, as far as it has them, and the image's other captions.

    ``relations`` says for "opposite relation" and "another relation" what the copy states instead.
    """

    img_id: str
    subject: str
    object: str
    relation: str
    original: str
    copies: Mapping[str, str]
    relations: Mapping[str, str]
    references: tuple[str, ...]


def edit_captions(
    items: Sequence[Item], written: Sequence[Sequence[str]], known: Sequence[Sequence[str]], seed: int
) -> list[EditedCaption]:
    """Edit one caption of each image that has one triple, a caption that can be edited, and another one beside it.

    ``written`` are the captions to choose from, image by image, of which one is drawn by ``seed``; ``known`` those to
    score against, of which the ones identical to it (case, blanks and the final dot apart) are left out. A caption can
    be edited when the rules see the annotated relation in it and ``read_caption`` can read it.
    """
    names = [[name for triple in item.triple_list for name in (triple.s, triple.o)] for item in items]
    numbers = noun_numbers(
        (caption, named)
        for named, *captions in zip(names, written, known, strict=True)
        for caption in dict.fromkeys([*captions[0], *captions[1]])
    )
    read = [_readable(item, captions, numbers) for item, captions in zip(items, written, strict=True)]
    others = _objects(items, read)
    edited = []
    for item, choices, captions in zip(items, read, known, strict=True):
        # Seeded image by image: few images more or less leave most captions as they are.
        generator = random.Random(f"{seed} {item.img_id}")
        if not choices:
            continue
        chosen = generator.choice(choices)
        references = tuple(caption for caption in captions if folded(caption) != chosen.text())
        if references:
            edited.append(_edited(item, chosen, references, others, generator))
    return edited


def swap_names(caption: ReadCaption) -> ReadCaption | None:
    """Exchange the two names; determiners and adjectives stay where they are. Twice gives the caption again.

    None where a determiner fits one of the names only: "two dogs", or "there is grass" for a name that needs "a".
    """
    first, second = caption.subject, caption.object
    if first.number != second.number:
        if not {first.determiner, second.determiner} <= {"", "a", "the"}:
            return None
        bare = "" in (first.determiner, second.determiner)
        if bare and "singular" in (first.number, second.number):
            return None
    return caption._replace(subject=_renamed(first, second), object=_renamed(second, first))


def _renamed(place: NounPhrase, named: NounPhrase) -> NounPhrase:
    return place._replace(name=named.name, number=named.number)


def another_relation(triple: Triple, references: Sequence[str], generator: random.Random) -> str | None:
    """Draw a relation that can hardly be true as well, never the opposite; None where references state them all."""
    free = [
        relation
        for relation in _ANOTHER[triple.p]
        if not any(states_relation(text, triple.s, triple.o, relation) for text in references)
    ]
    return generator.choice(free) if free else None


def _readable(item: Item, captions: Iterable[str], numbers: Mapping[str, Number]) -> list[ReadCaption]:
    """Read the captions of an image that state its only triple's relation, each once."""
    if len(item.triple_list) != 1:
        return []
    triple = item.triple_list[0]
    found: dict[str, ReadCaption] = {}
    for text in dict.fromkeys(map(folded, captions)):
        read = read_caption(text, triple.s, triple.o, numbers)
        if read and read.relation == triple.p and states_relation(text, triple.s, triple.o, triple.p):
            found[text] = read
    return list(found.values())


def _objects(items: Sequence[Item], read: Sequence[Sequence[ReadCaption]]) -> dict[Number, list[str]]:
    """List the objects' names, as captions write them, by number."""
    found: dict[Number, dict[str, None]] = {"singular": {}, "plural": {}, "mass": {}}
    for choices in read:
        for caption in choices:
            found[caption.object.number][caption.object.name] = None
    return {number: list(names) for number, names in found.items()}


def _edited(
    item: Item,
    chosen: ReadCaption,
    references: tuple[str, ...],
    others: Mapping[Number, Sequence[str]],
    generator: random.Random,
) -> EditedCaption:
    triple = item.triple_list[0]
    another, relations = another_relation(triple, references, generator), {}
    if another:
        relations["another relation"] = another
    if opposite := OPPOSITES.get(chosen.relation):
        relations["opposite relation"] = opposite
    makers: dict[str, Callable[[], ReadCaption | None]] = {
        "names swapped": lambda: swap_names(chosen) if chosen.relation != "next to" else None,
        "opposite relation": lambda: chosen._replace(relation=opposite) if opposite else None,
        "another relation": lambda: chosen._replace(relation=another) if another else None,
        "negation": lambda: _negated(chosen),
        "another object": lambda: _with_another_object(chosen, item, others, generator),
        "synonym": lambda: chosen._replace(relation=SYNONYMS[chosen.relation]),
    }
    copies = {name: copy.text() for name, make in makers.items() if (copy := make())}
    return EditedCaption(item.img_id, triple.s, triple.o, triple.p, chosen.text(), copies, relations, references)


def _negated(caption: ReadCaption) -> ReadCaption | None:
    # "there is the ball": no "no" can take the place of "the".
    if caption.existential and caption.subject.determiner not in ("", "a", "many", "several"):
        return None
    return caption._replace(negated=True)


def _with_another_object(
    caption: ReadCaption, item: Item, others: Mapping[Number, Sequence[str]], generator: random.Random
) -> ReadCaption | None:
    """Draw the name until it is in no caption of the image; None where a hundred draws do not find one."""
    texts = " ".join(folded(text) for text in (*item.captions, item.triple_list[0].s, item.triple_list[0].o))
    names = others[caption.object.number]
    for _ in range(100 if names else 0):
        name = generator.choice(names)
        if not any(word in texts for word in name.split()):
            return caption._replace(object=caption.object._replace(name=name))
    return None
