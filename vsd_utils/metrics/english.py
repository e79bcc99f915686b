"""Read English as far as the relation checker by rules needs it: words, plurals and the closed classes of words.

Lists, not a tagger: what is on no list counts as a noun or an adjective.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BE = _words("is are was were be been being")
HAVE = _words("with has have had having")
PREPOSITIONS = _words(
    "about above across adjacent against ahead along alongside among around at atop behind below beneath beside "
    "besides between by close down during for from in inside into like near next of off on onto out over past through "
    "to toward towards under underneath up upon via with within without"
)
DETERMINERS = _words(
    "a an the this that these those another some many several few any each every both all his her its their my your "
    "our one two three four five six other various numerous multiple lots"
)
ARTICLES = _words("a an the")
RELATIVES = _words("that which who")
PRONOUNS = _words("it them him her itself themselves himself herself")
CLAUSE = BE | HAVE | RELATIVES | PRONOUNS | _words("and or but while as there where when can could")
# What cannot be inside "the big red ball", and with the articles what cannot follow one either.
STOPS = PREPOSITIONS | CLAUSE
BOUNDS = STOPS | DETERMINERS
NEGATIONS = _words("no not never neither nor none nobody nothing cannot hardly barely without isnt arent nowhere")
PLACES = _words("left right side top bottom front back middle center rear surface hand position place")
# "a group of people", "a slice of pizza": the noun after "of" is what the phrase is about.
MEASURES = _words(
    "group line pair piece lot lots couple bunch number row set slice slices picture photo image view pile stack part "
    "kind type variety plenty patch all one some most each many crowd herd flock bit pieces cup glass bowl bottle plate"
)
# Words that take an object of their own, so that what follows them is not the noun before them.
ACTS = _words("holding wearing carrying riding pulling having eating using watching")
# With one of these, as with "is", the words before it may hold more about the subject ("the woman in green stands on").
FINITE = BE | _words(
    "stands stood sits sat lies hangs hung stays rests stops flies floats grows appears extends leans shows"
)
VERBS = FINITE | _words(
    "stand sit lie lay laid rest hang lean float fly flew grow grew grown run runs ran walk walks appear seen shown "
    "show kept found put set built parked stay remain remains visible present stuck worn made hidden spread sleep "
    "sleeps wait waits come comes go goes cover covers rise rises tower towers shine shines live lives swim swims ride "
    "rides see sees do does also high outside nearby just right directly still now together all both here up down lit"
)
_NOT_VERBS = ACTS | _words(
    "building ceiling king ring wing string railing painting clothing thing something nothing anything everything "
    "crossing awning evening morning wedding bedding lighting siding parking landing icing stuffing wiring frosting "
    "bed red shed seed weed reed feed sled family jelly belly lily butterfly"
)
_IRREGULAR = {
    "men": "man",
    "women": "woman",
    "people": "person",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "leaves": "leaf",
    "shelves": "shelf",
    "knives": "knife",
    "loaves": "loaf",
    "wolves": "wolf",
    "halves": "half",
    "scarves": "scarf",
}
_WORD = re.compile(r"\w*n't\b|\w+")


class Text(NamedTuple):
    """Hold words, and in ``marks[i]`` what is between word i and the next: "." a sentence's end, "," other, "" none."""

    words: tuple[str, ...]
    marks: tuple[str, ...]


def read(sentence: str) -> Text:
    """Split into lower-case words and the punctuation after each; a dot inside a name ("t.v.") ends no sentence."""
    sentence = sentence.casefold().replace("\u2019", "'")
    found = list(_WORD.finditer(sentence))
    marks = []
    for match, following in zip(found, [*found[1:], None], strict=False):
        between = sentence[match.end() : following.start() if following else len(sentence)]
        ended = re.search(r"[.!?;]\s|\n", between)
        marks.append("." if ended else "," if re.search(r"[^\s'\-\"]", between) else "")
    return Text(tuple(match.group() for match in found), tuple(marks))


@lru_cache(maxsize=20_000)
def forms(word: str) -> frozenset[str]:
    """List the word and what it may be the plural of."""
    found = {word, _IRREGULAR.get(word, word)}
    if len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
        found.add(word[:-1])
        if word.endswith("es"):
            found.add(word[:-2])
        if word.endswith("ies"):
            found.add(word[:-3] + "y")
    return frozenset(found)


def same_name(one: str, other: str) -> bool:
    """Tell whether two names are the same words but for their number."""
    pairs = list(zip(read(one).words, read(other).words, strict=False))
    return len(pairs) == len(read(one).words) == len(read(other).words) and all(forms(a) & forms(b) for a, b in pairs)


def places(words: Sequence[str], name: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the spans (first word, word after the last) of the name; its number is free, and so is an 's."""
    for start in range(len(words)):
        at, matched = start, 0
        while matched < len(name) and at < len(words):
            if forms(words[at]) & forms(name[matched]):
                at, matched = at + 1, matched + 1
            elif matched and words[at] == "s":
                at += 1
            elif matched and name[matched] == "s":
                matched += 1
            else:
                break
        if name and matched == len(name):
            yield start, at


def verb_like(word: str) -> bool:
    """Tell whether the word can stand between a noun and what is said of its place: verb, participle or adverb."""
    return word in VERBS or (word.endswith(("ing", "ed", "ly")) and word not in _NOT_VERBS)
