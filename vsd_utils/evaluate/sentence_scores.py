"""All scores of sentences against references, for many tasks and systems at once.

At once, because the costly part is shared: one tokenizer run, one METEOR and one SPICE for all of them, both in the
background while the scores that need no Java are counted. A score that cannot be computed is left out with its reason.
"""

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vsd_utils.common.errors import VsdError
from vsd_utils.metrics.java.meteor import meteor_counts, meteor_measure, meteor_score
from vsd_utils.metrics.java.runtime import Java, find_java
from vsd_utils.metrics.java.spice import Candidate, Spice
from vsd_utils.metrics.java.tokenizer import one_line, tokenize
from vsd_utils.metrics.measure import Array, Measure, mean_measure, mean_of
from vsd_utils.metrics.ngrams import bleu_maximum, bleu_measure, bleu_score, cider_scores, rouge_scores, self_bleu
from vsd_utils.metrics.relation_checker import states_relation
from vsd_utils.metrics.relation_learned import Claim, LearnedChecker

SPICE_NAMES = ("spice", "spice_per_reference_max")
TOKEN_NAMES = ("bleu4", "bleu4_per_reference_max", *SPICE_NAMES, "meteor", "rouge_l", "cider")
DIVERSITY_NAMES = ("mbleu4_by_rank", "mbleu4_by_sentence")
RELATION_NAMES = ("relation_in_sentence", "relation_learned")
SPICE_OFF = "SPICE was switched off"
NOT_TRAINED = "no training captions were given, on which the learned relation checker is trained"
NOT_ASKED = frozenset({SPICE_OFF, NOT_TRAINED})  # the reasons for an empty score that are no failure
Key = TypeVar("Key", bound=Hashable)  # what a caller calls its tasks


@dataclass(frozen=True)
class Engine:
    """What computes: which Java (default: see ``find_java``), its memory in GiB, where results stay, and the
    relation checker that was trained on captions of other images."""

    java: str | Path | None = None
    heap_gb: float = 4.0
    cache: Path | None = None
    jars: Path | None = None
    spice: bool = True
    learned: LearnedChecker | None = None

    def found(self) -> Java:
        """Find the Java; raises ``JavaError`` when there is none."""
        return find_java(self.java)


@dataclass(frozen=True)
class SentenceTask:
    """For each image k sentences, at least one reference, and what the sentences should state: (subject, object, the
    relations that are right)."""

    sentences: Sequence[Sequence[str]]
    references: Sequence[Sequence[str]]
    facts: Sequence[tuple[str, str, frozenset[str]]]

    def __post_init__(self) -> None:
        """Raise ``VsdError`` on unequal lengths or an image without references."""
        lengths = {len(self.sentences), len(self.references), len(self.facts)}
        if len(lengths) != 1 or not self.sentences:
            raise VsdError(f"expected sentences, references and facts of the same images, found {sorted(lengths)}")
        for number, (sentences, references) in enumerate(zip(self.sentences, self.references, strict=True)):
            if not references:
                raise VsdError(f"image number {number} has no reference; every image needs at least one")
            if len(sentences) != len(self.sentences[0]) or not sentences:
                raise VsdError(
                    f"image number {number} has {len(sentences)} sentences, expected {len(self.sentences[0])}"
                )


@dataclass
class SentenceScores:
    """``measures`` by name; ``each``: scores 0..100 (CIDEr 0..1000) of each sentence, (images, k); ``missing``: reasons
    by name."""

    measures: dict[str, Measure] = field(default_factory=dict)
    each: dict[str, Array] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def score_sentences(tasks: Mapping[Key, SentenceTask], engine: Engine | None = None) -> dict[Key, SentenceScores]:
    """Compute every score of every task; the k sentences of an image are scored one by one and averaged.

    Never fails for want of Java or jars: such scores are ``missing`` with the reason.
    """
    engine = engine or Engine()
    # 1. What needs no tokens: does a sentence state the relation?
    results = {name: _stated(task, engine.learned) for name, task in tasks.items()}
    texts = [
        text for task in tasks.values() for rows in (task.sentences, task.references) for row in rows for text in row
    ]
    # 2. Tokens of all sentences and references, in one run; without them there is no further score.
    try:
        java = engine.found()
        tokens = tokenize(texts, java, engine.cache)
    except VsdError as error:
        for result in results.values():
            result.missing |= dict.fromkeys(TOKEN_NAMES + DIVERSITY_NAMES, str(error))
        return results
    read = {
        name: SentenceTask(
            [[tokens[text] for text in row] for row in task.sentences],
            [tuple(tokens[text] for text in row) for row in task.references],
            task.facts,
        )
        for name, task in tasks.items()
    }
    # 3. SPICE and METEOR in the background, all tasks at once, while the rest is counted here.
    with ThreadPoolExecutor(2) as pool:
        spice = pool.submit(_spice_scores, list(read.values()), java, engine)
        meteor = pool.submit(_meteor_counts, list(read.values()), java, engine)
        for name, task in read.items():
            _count(task, results[name])
        for name, task in read.items():
            _add(results[name], ("meteor",), meteor, functools.partial(_meteor, task))
            _add(results[name], SPICE_NAMES, spice, functools.partial(_spice, task))
    return results


def _stated(task: SentenceTask, learned: LearnedChecker | None) -> SentenceScores:
    stated = [
        [100.0 * any(_states(one_line(text), *fact[:2], relation) for relation in fact[2]) for text in sentences]
        for sentences, fact in zip(task.sentences, task.facts, strict=True)
    ]
    result = SentenceScores()
    _mean(result, "relation_in_sentence", np.array(stated))
    if learned is None:
        result.missing["relation_learned"] = NOT_TRAINED
        return result
    rows = zip(task.sentences, task.facts, strict=True)
    claims = [Claim(one_line(text), *fact[:2]) for texts, fact in rows for text in texts]
    read = iter(learned.relations(claims))
    found = [
        [100.0 * (next(read) in fact[2]) for _ in texts] for texts, fact in zip(task.sentences, task.facts, strict=True)
    ]
    _mean(result, "relation_learned", np.array(found))
    return result


_states = functools.lru_cache(maxsize=1 << 17)(states_relation)


def _mean(result: SentenceScores, name: str, each: Array) -> None:
    result.each[name] = each
    result.measures[name] = mean_measure(each.mean(1), 1.0)


def _count(task: SentenceTask, result: SentenceScores) -> None:
    """The scores that need no Java."""
    ranks = [[row[rank] for row in task.sentences] for rank in range(len(task.sentences[0]))]
    corpus = [bleu_measure(captions, task.references) for captions in ranks]
    result.measures["bleu4"] = mean_of(corpus)
    result.each["bleu4"] = np.column_stack([bleu_score(measure.counts) for measure in corpus])
    _mean(result, "bleu4_per_reference_max", np.column_stack([bleu_maximum(r, task.references) for r in ranks]))
    _mean(result, "rouge_l", 100 * np.column_stack([rouge_scores(r, task.references) for r in ranks]))
    if len(task.sentences) > 1:
        _mean(result, "cider", 100 * np.column_stack([cider_scores(r, task.references) for r in ranks]))
    else:
        result.missing["cider"] = "CIDEr weighs words by how few images have them, so it needs two images at least"
    if len(ranks) > 1:
        by_rank, each = self_bleu(task.sentences)
        result.measures["mbleu4_by_rank"] = by_rank
        _mean(result, "mbleu4_by_sentence", each)


def _add(
    result: SentenceScores, names: Sequence[str], work: Future[Any], use: Callable[[SentenceScores, Any], None]
) -> None:
    try:
        use(result, work.result())
    except VsdError as error:
        result.missing |= dict.fromkeys(names, str(error))


def _meteor_counts(tasks: list[SentenceTask], java: Java, engine: Engine) -> dict[tuple[str, tuple[str, ...]], Array]:
    pairs = list(
        dict.fromkeys(
            (text, tuple(references))
            for task in tasks
            for row, references in zip(task.sentences, task.references, strict=True)
            for text in row
        )
    )
    return dict(zip(pairs, meteor_counts(pairs, java, engine.cache), strict=True))


def _meteor(task: SentenceTask, result: SentenceScores, counts: Mapping[Any, Array]) -> None:
    each = [
        np.array([counts[row[rank], tuple(known)] for row, known in zip(task.sentences, task.references, strict=True)])
        for rank in range(len(task.sentences[0]))
    ]
    result.measures["meteor"] = mean_of([meteor_measure(rank) for rank in each])
    result.each["meteor"] = np.column_stack([100 * meteor_score(rank) for rank in each])


def _spice_scores(tasks: list[SentenceTask], java: Java, engine: Engine) -> dict[Candidate, float]:
    if not engine.spice:
        raise VsdError(SPICE_OFF)
    pairs: dict[Candidate, None] = {}
    for task in tasks:
        for row, references in zip(task.sentences, task.references, strict=True):
            for text in row:
                pairs[Candidate(text, tuple(references))] = None
                pairs.update({Candidate(text, (reference,)): None for reference in references})
    folder = engine.cache / "spice" if engine.cache else None
    spice = Spice(java, heap_gb=engine.heap_gb, folder=folder, jars=engine.jars)
    return dict(zip(pairs, spice.scores(list(pairs)), strict=True))


def _spice(task: SentenceTask, result: SentenceScores, scores: Mapping[Candidate, float]) -> None:
    pooled, best = [], []
    for row, references in zip(task.sentences, task.references, strict=True):
        pooled.append([100 * scores[Candidate(text, tuple(references))] for text in row])
        best.append([100 * max(scores[Candidate(text, (reference,))] for reference in references) for text in row])
    _mean(result, "spice", np.array(pooled))
    _mean(result, "spice_per_reference_max", np.array(best))
