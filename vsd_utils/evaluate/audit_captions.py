"""Captions read so strictly that they can be written again, with one thing changed and the grammar kept.

A caption is read as "[there is] NOUN PHRASE [is] [sitting] RELATION NOUN PHRASE [.]" and is taken only where writing
what was read gives back the same words. Writing decides "a", "an" or "some" and "is" or "are" by the number of the
noun, so what is written after a change agrees as well as the original did. Everything else is not read.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from vsd_utils.data.annotations import RELATIONS
from vsd_utils.metrics import english

Number = Literal["singular", "plural", "mass"]

# What can stand between a noun and any of the nine relations, of any subject: "is sitting", "sitting", "that is".
_POSTURES = {"sitting", "standing", "shown", "hanging", "parked", "growing", "lying", "laying", "resting", "placed"}
_POSTURES |= {"located", "seen", "visible", "displayed", "walking", "flying"}
_SINGULAR = frozenset({"a", "an", "another", "one", "this", "that", "each"})
_PLURAL = frozenset({"many", "several", "two", "three", "four", "five", "few", "these", "those"})
_BE = {"is", "are"}
# "in front of" before "in".
_LABELS = sorted((tuple(relation.split()) for relation in RELATIONS), key=len, reverse=True)
_LARGEST_DISSENT = 0.25  # of a noun's uses, so that one slip is not taken for a habit
# Written with a vowel and spoken with a consonant, and the other way round.
_AN = re.compile(r"(?!uni(?!n)|use|uti|uri|one\b|eu)[aeiou]|hour|honest|suv\b")


class NounPhrase(NamedTuple):
    """Hold a determiner ("" for none, "a" for an indefinite one), adjectives and the name as the caption writes it."""

    determiner: str
    adjectives: tuple[str, ...]
    name: str
    number: Number

    def text(self) -> str:
        """Write it, with the indefinite article that fits: a, an, or some."""
        words = " ".join([*self.adjectives, self.name])
        if self.determiner != "a":
            return f"{self.determiner} {words}".strip()
        article = "some" if self.number != "singular" else "an" if _AN.match(words) else "a"
        return f"{article} {words}"


class ReadCaption(NamedTuple):
    """Hold the parts of a caption; ``link`` is what stands before the relation, ``negated`` says "not" of it.

    ``relation`` is a phrase: one of the nine labels, or another way to say it. ``swapped`` tells that the annotated
    subject stands second.
    """

    existential: bool
    subject: NounPhrase
    link: tuple[str, ...]
    relation: str
    object: NounPhrase
    ending: str
    negated: bool = False

    def text(self) -> str:
        """Write the caption, lower case, the verb agreeing with the first noun."""
        be = "are" if self.subject.number == "plural" else "is"
        link = [be if word in _BE else word for word in self.link]
        first = self.subject.text()
        if self.negated and self.existential:
            first = self.subject._replace(determiner="no").text()
        elif self.negated:
            at = next((number + 1 for number, word in enumerate(link) if word in _BE), 0)
            link.insert(at, "not")
        opening = ["there", be] if self.existential else []
        return " ".join([*opening, first, *link, self.relation, self.object.text()]) + self.ending


def folded(caption: str) -> str:
    """Write a caption in lower case with single blanks, its final dot directly after the last word."""
    return re.sub(r" ?([.!])[ .!]*$", r"\1", " ".join(caption.lower().split()))


def noun_numbers(captions: Iterable[tuple[str, Sequence[str]]]) -> dict[str, Number]:
    """Learn the number of each name, as written, from how the ``captions`` (text, names of its image) use it.

    "singular" takes "a", "plural" takes "are", "mass" takes "is" but hardly ever "a". A name whose use shows none of
    these is left out.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for caption, names in captions:
        words = english.read(folded(caption)).words
        for name in names:
            for start, end in english.places(words, english.read(name).words):
                if vote := _vote(words, start, end):
                    votes[" ".join(words[start:end])][vote] += 1
    numbers = {name: _decided(counts) for name, counts in votes.items()}
    return {name: number for name, number in numbers.items() if number}


def read_caption(caption: str, subject: str, object_: str, numbers: Mapping[str, Number]) -> ReadCaption | None:
    """Read a caption about two names, the subject first; None where it does not have the form, to the word.

    Each name must occur once, and their ``numbers`` be known. The relation must be one of the nine labels.
    """
    text = folded(caption)
    ending = text[-1:] if text[-1:] in (".", "!") else ""
    words = english.read(text).words
    spans = [list(english.places(words, english.read(name).words)) for name in (subject, object_)]
    if any(len(each) != 1 for each in spans):
        return None
    (start, end), (start2, end2) = spans[0][0], spans[1][0]
    if end >= start2 or end2 != len(words):
        return None
    existential = words[0] == "there" and words[1] in _BE
    first = _noun_phrase(words[2 if existential else 0 : start], " ".join(words[start:end]), numbers)
    middle = _middle(words[end:start2])
    if first is None or middle is None:
        return None
    link, relation, rest = middle
    second = _noun_phrase(rest, " ".join(words[start2:end2]), numbers)
    if second is None:
        return None
    read = ReadCaption(existential, first, link, relation, second, ending)
    return read if read.text() == text else None


def _noun_phrase(before: Sequence[str], name: str, numbers: Mapping[str, Number]) -> NounPhrase | None:
    """Read what stands before a name; None where it is more than a determiner and adjectives that agree with it."""
    number = numbers.get(name)
    determiner = before[0] if before and before[0] in english.DETERMINERS else ""
    adjectives = tuple(before[1:] if determiner else before)
    if any(character.isdigit() for character in name) or name in english.ACTS or name in _POSTURES:
        return None  # no noun
    if number is None or len(adjectives) > 3 or any(not _adjective(word) for word in adjectives):
        return None
    if not determiner and number == "singular":
        return None  # "lamp in man"
    if determiner in ("a", "an", "some"):
        determiner = "a"
    elif determiner not in ("", "the") and number != ("plural" if determiner in _PLURAL else "singular"):
        return None
    return NounPhrase(determiner, adjectives, name, number)


def _adjective(word: str) -> bool:
    return word not in (english.BOUNDS | english.ACTS | english.NEGATIONS | english.PLACES) and not english.verb_like(
        word
    )


def _middle(words: tuple[str, ...]) -> tuple[tuple[str, ...], str, tuple[str, ...]] | None:
    """Split what stands between two names into link, relation and what belongs to the second name."""
    for start in range(min(4, len(words))):
        for phrase in _LABELS:
            if words[start : start + len(phrase)] == phrase and _is_link(words[:start]):
                return words[:start], " ".join(phrase), words[start + len(phrase) :]
    return None


def _is_link(words: tuple[str, ...]) -> bool:
    rest = words[1:] if words[:1] in (("that",), ("which",)) and words[1:2] and words[1] in _BE else words
    rest = rest[1:] if rest and rest[0] in _BE else rest
    return not rest or (len(rest) == 1 and rest[0] in _POSTURES)


def _vote(words: Sequence[str], start: int, end: int) -> str | None:
    """Tell what one use of a name says of its number."""
    following = words[end] if end < len(words) else ""
    if following and following not in english.BOUNDS and not english.verb_like(following):
        return None  # part of a longer name
    at = start - 1
    while at >= 0 and _adjective(words[at]):
        at -= 1
    before = words[at] if at >= 0 else ""
    if before in _SINGULAR:
        return "singular"
    if before in _PLURAL or following == "are":
        return "plural"
    if before == "the":
        return None  # "the cat is", "the grass is"
    opening = tuple(words[max(0, at - 1) : at + 1] if before in _BE else words[max(0, at - 2) : at])
    if opening[:1] == ("there",):
        return "plural" if "are" in opening else "mass"
    return "mass" if following == "is" else None


def _decided(votes: Counter[str]) -> Number | None:
    singular, plural, mass = votes["singular"], votes["plural"], votes["mass"]
    if min(plural, singular + mass) > _LARGEST_DISSENT * (plural + singular + mass):
        return None
    if plural > singular + mass:
        return "plural"
    if singular > mass:
        return "singular"
    return "mass" if mass > 1 and not singular else None
