"""What can be had without looking at a photo: no score means anything without these rows beside it.

Relations are predicted from the training triples alone: the commonest one, the commonest one of the two names, logistic
regression (scikit-learn) on the boxes, on the names, on both. The same relations put into one template give sentences;
what people wrote for one version of the data, scored against the other version, shows what a person would get.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsd_utils.common.errors import VsdError
from vsd_utils.data.annotations import Item, Triple
from vsd_utils.evaluate.references import fact_of
from vsd_utils.evaluate.sentence_scores import SentenceTask

TEMPLATE = "there is a {s} {p} the {o}."
RELATION_BASELINES = ("majority", "names_look_up", "boxes_regression", "names_regression", "boxes_and_names_regression")
_CHOSEN = "boxes_and_names_regression"


def predict_relations(train: Sequence[Triple], test: Sequence[Triple]) -> dict[str, list[str]]:
    """Predict the relation of each test triple by each image-free baseline (``RELATION_BASELINES``).

    Deterministic. Raises ``VsdError`` without training triples, or when they all have one relation.
    """
    if len({triple.p for triple in train}) < 2:
        raise VsdError(f"the baselines need training triples of two relations at least, found {len(train)} triples")
    predicted = {"majority": [_commonest(triple.p for triple in train)] * len(test)}
    predicted["names_look_up"] = _look_up(train, test)
    for name, features in (("boxes", _boxes), ("names", _names), ("boxes_and_names", _both)):
        predicted[f"{name}_regression"] = _regression(features, train, test)
    return predicted


def human_submission(
    items: Sequence[Item], others: Sequence[Item]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Submit what people wrote, as the two files: v2's caption for task 2, three v1 captions for task 3.

    ``items`` are v1's, ``others`` v2's, of the same images. Task 1 holds the annotated relations. An image with fewer
    than three distinct v1 captions repeats them.
    """
    second = {item.img_id: item.captions[0] for item in others}
    first, third = [], []
    for item in items:
        triples = [triple.model_dump(mode="json") for triple in item.triple_list]
        first.append({"img_id": item.img_id, "triple_list": triples, "description": [second[item.img_id]]})
        distinct = list(dict.fromkeys(item.captions))
        third.append({"img_id": item.img_id, "description": [distinct[rank % len(distinct)] for rank in range(3)]})
    return first, third


def template_submission(
    items: Sequence[Item], relations: Mapping[str, Sequence[str]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Put ``relations`` (image id to one label a triple) into templates and make the two submission files of it."""
    first, third = [], []
    for item in items:
        labels = relations[item.img_id]
        asked = item.triple_list[0]
        triples = [t.model_dump(mode="json") | {"p": p} for t, p in zip(item.triple_list, labels, strict=True)]
        forms = ("{s} {p} {o}.", TEMPLATE, "the {s} is {p} the {o}.")
        sentences = [form.format(s=asked.s, o=asked.o, p=labels[0]) for form in forms]
        first.append({"img_id": item.img_id, "triple_list": triples, "description": [sentences[1]]})
        third.append({"img_id": item.img_id, "description": sentences})
    return first, third


def sentence_tasks(
    items: Sequence[Item], others: Sequence[Item], train: Sequence[Triple] | None = None
) -> dict[tuple[str, str], SentenceTask]:
    """Make the baseline sentences to score, by (name, "v1" or "v2" references), over the images of ``items`` (v1's).

    Names: "template, gold relation", "template, always on", with ``train`` also "template, " and the regression on
    boxes and names, "human, v2 caption" (against v1) and "human, first v1 caption" (against v2). ``others`` are v2's
    items of the same images.
    """
    by_id = {item.img_id: item for item in others}
    asked = [item.triple_list[0] for item in items]
    labels = {"gold relation": [triple.p for triple in asked], "always on": ["on"] * len(asked)}
    if train is not None:
        labels["boxes and names regression"] = predict_relations(train, asked)[_CHOSEN]
    sentences = {
        f"template, {name}": [TEMPLATE.format(s=t.s, o=t.o, p=p) for t, p in zip(asked, chosen, strict=True)]
        for name, chosen in labels.items()
    }
    references = {"v1": [item.captions for item in items], "v2": [by_id[item.img_id].captions for item in items]}
    texts = {(name, version): given for name, given in sentences.items() for version in references}
    texts["human, v2 caption", "v1"] = [known[0] for known in references["v2"]]
    texts["human, first v1 caption", "v2"] = [known[0] for known in references["v1"]]
    facts = [fact_of(item) for item in items]
    return {key: SentenceTask([[text] for text in given], references[key[1]], facts) for key, given in texts.items()}


def _commonest(relations: Iterable[str]) -> str:
    counts: Counter[str] = Counter(relations)
    return min(counts, key=lambda relation: (-counts[relation], relation))


def _look_up(train: Sequence[Triple], test: Sequence[Triple]) -> list[str]:
    """By both names, else by the subject's, else by the object's, else the commonest of all."""
    seen: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for triple in train:
        for key in _keys(triple):
            seen[key].append(triple.p)
    best = {key: _commonest(relations) for key, relations in seen.items()}
    return [next(best[key] for key in _keys(triple) if key in best) for triple in test]


def _keys(triple: Triple) -> list[tuple[str, ...]]:
    return [("both", triple.s, triple.o), ("subject", triple.s), ("object", triple.o), ()]


def _boxes(triple: Triple) -> dict[str, float]:
    """Centre offset, size ratios and overlap: the size of the photo is not in the data, so lengths are relative."""
    (top, bottom, left, right), (top2, bottom2, left2, right2) = triple.s_bbox, triple.o_bbox
    height, width, height2, width2 = bottom - top, right - left, bottom2 - top2, right2 - left2
    scale_y, scale_x = (height + height2) / 2, (width + width2) / 2
    tall = max(0, min(bottom, bottom2) - max(top, top2))
    wide = max(0, min(right, right2) - max(left, left2))
    down, along = (top + bottom - top2 - bottom2) / 2 / scale_y, (left + right - left2 - right2) / 2 / scale_x
    size, size2 = height * width, height2 * width2
    return {
        "down": float(np.tanh(down)),
        "along": float(np.tanh(along)),
        "distance down": float(np.tanh(abs(down))),
        "distance along": float(np.tanh(abs(along))),
        "bottoms": float(np.tanh((bottom - bottom2) / scale_y)),
        "tops": float(np.tanh((top - top2) / scale_y)),
        "size": float(np.log(size / size2)),
        "height": float(np.log(height / height2)),
        "width": float(np.log(width / width2)),
        "covered": tall * wide / size,
        "covered object": tall * wide / size2,
        "overlap": tall * wide / (size + size2 - tall * wide),
    }


def _names(triple: Triple) -> dict[str, float]:
    words = [f"s:{word}" for word in triple.s.lower().split()] + [f"o:{word}" for word in triple.o.lower().split()]
    return dict.fromkeys([f"subject {triple.s}", f"object {triple.o}", f"{triple.s}, {triple.o}", *words], 1.0)


def _both(triple: Triple) -> dict[str, float]:
    return _boxes(triple) | _names(triple)


def _regression(
    features: Callable[[Triple], dict[str, float]], train: Sequence[Triple], test: Sequence[Triple]
) -> list[str]:
    # Imported late: scoring alone needs no scikit-learn, which takes longer to load than to fit this.
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MaxAbsScaler

    model = make_pipeline(DictVectorizer(), MaxAbsScaler(), LogisticRegression(max_iter=2000))
    model.fit([features(triple) for triple in train], [triple.p for triple in train])
    if not test:
        return []
    answers: NDArray[Any] = model.predict([features(triple) for triple in test])
    return [str(answer) for answer in answers]
