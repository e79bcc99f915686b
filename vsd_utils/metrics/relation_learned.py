"""Read the relation of a sentence by a classifier that was trained on captions, beside the checker by rules.

The two names are masked, so what is left to learn from is how people say a relation, not which things stand where.
Word n-grams (1 to 4) and character n-grams (2 to 5) go into a logistic regression (scikit-learn) over the nine
relations and "none". Each training caption counts twice: as it is, and with the roles of the names exchanged, where it
states the inverse relation, or none ("the box is in the ball"). Without the exchanged ones it would not look at who
is where. A sentence of which the likeliest relation is less likely than a threshold, that lacks a name, or that holds
a negation (there are too few to learn from; the list is that of the checker by rules) gets no answer.

It learns whatever the captions say, wrong ones too, and it sees no picture. Never ask it about images that it was
trained on: ``refuse_trained`` says so.
"""

import functools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vsd_utils.common.errors import VsdError, listed
from vsd_utils.data.annotations import RELATIONS, Item
from vsd_utils.metrics import english
from vsd_utils.metrics.measure import Array
from vsd_utils.metrics.relation_checker import SAID_FROM_THE_OBJECT, unpunctuated

THRESHOLD = 0.5
NONE = "none"
_SUBJECT, _OBJECT = "subjectname", "objectname"
_AT_ONCE = 5_000  # sentences; a row of probabilities is small, a row of n-grams is not


class Claim(NamedTuple):
    """Hold a sentence and the two names that it may state a relation of."""

    sentence: str
    subject: str
    object: str

    def exchanged(self) -> "Claim":
        """Give the claim with the roles of the names exchanged."""
        return Claim(self.sentence, self.object, self.subject)


@functools.lru_cache(maxsize=1 << 17)
def mask(claim: Claim) -> str:
    """Write the sentence in lower-case words with its names masked; empty where it lacks one of them.

    As in the checker by rules, the last word of a name will do where the whole name is absent.
    """
    words = english.read(unpunctuated(*claim)).words
    subject, object_ = (_spans(words, name) for name in (claim.subject, claim.object))
    if english.same_name(claim.subject, claim.object):
        subject, object_ = subject[:1], subject[1:2]
    # Of a "cow" and a "cow's ear" the longer name is masked first, and the shorter one only outside of it.
    if max((end - start for start, end in subject), default=0) >= max(
        (end - start for start, end in object_), default=0
    ):
        object_ = _apart(object_, subject)
    else:
        subject = _apart(subject, object_)
    if not subject or not object_:
        return ""
    masked: list[str] = []
    ends = dict(object_) | dict(subject)
    at = 0
    while at < len(words):
        name = _SUBJECT if (at, ends.get(at)) in subject else _OBJECT if at in ends else words[at]
        masked.append(name)
        at = ends.get(at, at + 1)
    return " ".join(masked)


def _spans(words: Sequence[str], name: str) -> list[tuple[int, int]]:
    whole = english.read(name).words
    head = _words_before_of(whole)[-1:]
    return next((spans for form in (whole, whole[-1:], head) if (spans := list(english.places(words, form)))), [])


def _apart(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep the spans that share no word with others."""
    return [(start, end) for start, end in spans if all(end <= first or last <= start for first, last in others)]


def _words_before_of(name: Sequence[str]) -> Sequence[str]:
    """Give the words of a name before its "of": "slices" of "slices of pizza"."""
    return name[: list(name).index("of")] if "of" in name else name


@dataclass(frozen=True)
class LearnedChecker:
    """A trained classifier; ``images`` and the masked ``captions`` are those that it was trained on."""

    images: frozenset[str]
    captions: frozenset[str]
    threshold: float
    _features: Any
    _model: Any

    def probabilities(self, claims: Sequence[Claim]) -> Array:
        """Say how likely each of the nine relations is: (claims, 9) in 0..1; what is missing to 1 is "none".

        0 throughout for a sentence that lacks a name, or that holds a negation outside of them.
        """
        masked = [mask(claim) for claim in claims]
        distinct = [text for text in dict.fromkeys(masked) if text and not _negated(text)]
        row = {text: number for number, text in enumerate(distinct)}
        found = np.zeros((len(distinct) + 1, len(RELATIONS)))
        classes = list(self._model.classes_)
        for start in range(0, len(distinct), _AT_ONCE):
            part = self._model.predict_proba(self._features.transform(distinct[start : start + _AT_ONCE]))
            for column, relation in enumerate(RELATIONS):
                if relation in classes:
                    found[start : start + len(part), column] = part[:, classes.index(relation)]
        return found[[row.get(text, len(distinct)) for text in masked]]

    def relations(self, claims: Sequence[Claim]) -> list[str | None]:
        """Read the relation of each claim; None where the likeliest one is below the threshold."""
        likely = self.probabilities(claims)
        return [RELATIONS[int(row.argmax())] if row.max() >= self.threshold else None for row in likely]

    def knows(self, claim: Claim) -> bool:
        """Tell whether the same sentence, its names masked, was among the training captions."""
        return mask(claim) in self.captions

    def refuse_trained(self, images: Iterable[str]) -> None:
        """Raise ``VsdError`` when one of the images to be scored is one that it was trained on."""
        if seen := sorted(self.images.intersection(images)):
            raise VsdError(
                f"the learned relation checker was trained on {len(seen)} of the images that it should score:\n"
                f"{listed(seen)}\nTrain it on the captions of another split."
            )


def train_checker(items: Sequence[Item], threshold: float = THRESHOLD) -> LearnedChecker:
    """Train on the captions of the images with one triple: of several, it is not known which a caption is about.

    Deterministic. Raises ``VsdError`` where the captions are not of two relations at least.
    """
    # 1. Each masked caption with its relation; captions that are written often count more, by the logarithm.
    used = [item for item in items if len(item.triple_list) == 1]
    pairs: Counter[tuple[str, str]] = Counter()
    for item in used:
        triple = item.triple_list[0]
        pairs.update((mask(Claim(caption, triple.s, triple.o)), triple.p) for caption in item.captions)
    pairs = Counter({(text, relation): count for (text, relation), count in pairs.items() if text})
    if len({relation for _, relation in pairs}) < 2:
        raise VsdError(
            f"the learned relation checker needs captions of two relations at least, found {len(pairs)} captions of "
            f"{len(items)} images that name subject and object. Give the annotations of a training split."
        )
    # 2. The same with the roles exchanged.
    examples: dict[tuple[str, str], float] = defaultdict(float)
    for (text, relation), count in pairs.items():
        weight = 1 + float(np.log(count))
        examples[text, relation] += weight
        for other, share in _when_exchanged(relation):
            examples[_exchanged(text), other] += weight * share
    features, model = _fitted(examples)
    known = frozenset(text for text, _ in pairs)
    return LearnedChecker(frozenset(item.img_id for item in used), known, threshold, features, model)


def _when_exchanged(relation: str) -> list[tuple[str, float]]:
    """Say what a caption states when its names change roles, with shares: "the box is under" is half on, half above."""
    inverse = [other for other in RELATIONS if relation in SAID_FROM_THE_OBJECT[other]]
    return [(other, 1 / len(inverse)) for other in inverse] or [(NONE, 1.0)]


def _negated(masked: str) -> bool:
    return any(word in english.NEGATIONS or word.endswith("n't") for word in masked.split())


def _exchanged(masked: str) -> str:
    other = {_SUBJECT: _OBJECT, _OBJECT: _SUBJECT}
    return " ".join(other.get(word, word) for word in masked.split())


def _fitted(examples: dict[tuple[str, str], float]) -> tuple[Any, Any]:
    # Imported late: scoring without this checker needs no scikit-learn, which takes a second to load.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_union

    texts = [text for text, _ in examples]
    words = TfidfVectorizer(ngram_range=(1, 4), token_pattern=r"\S+", sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    features = make_union(words, characters)
    model = LogisticRegression(C=10.0, max_iter=1000)
    try:
        matrix = features.fit_transform(texts)
    except ValueError:
        raise VsdError(
            f"the learned relation checker found no words that {len(texts)} training captions share. Give more of them."
        ) from None
    model.fit(matrix, [relation for _, relation in examples], sample_weight=list(examples.values()))
    return features, model
