"""METEOR 1.5 (Denkowski and Lavie, 2014) by the authors' jar, with the counts that resampling needs.

The jar aligns each caption with its references and prints 23 counts for the best one. A corpus score is the score of
the summed counts, as the jar's own EVAL computes it; that sum and the closing formula are done here, so that a
thousand resamples cost a matrix product. Formula and parameters: the jar's English task ``rank`` (class MeteorScorer).
"""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vsd_utils.metrics.java.cache import Store, cache_folder
from vsd_utils.metrics.java.jars import pycocoevalcap_folder
from vsd_utils.metrics.java.runtime import Java, JavaError, environment, find_java
from vsd_utils.metrics.measure import Measure

COUNTS = 23
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MODULE_WEIGHTS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase
_CHUNKS = 20


def meteor_counts(
    pairs: Sequence[tuple[str, Sequence[str]]], java: Java | None = None, folder: Path | None = None
) -> NDArray[np.float64]:
    """Count with the jar for each (tokenized caption, tokenized references): float64 of shape (pairs, 23).

    Known ones come from ``folder`` (default: the cache folder). Raises ``JavaError`` when the jar cannot run.
    """
    store = Store((folder or cache_folder()) / "meteor.sqlite", "counts")
    lines = [_request(caption, references) for caption, references in pairs]
    known = store.get(dict.fromkeys(lines))
    new = [line for line in dict.fromkeys(lines) if line not in known]
    if new:
        found = dict(zip(new, _ask(new, java or find_java()), strict=True))
        store.put(found)
        known |= found
    return np.array([json.loads(known[line]) for line in lines], dtype=np.float64).reshape(-1, COUNTS)


def meteor_sums(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Prepare counts for a sum: a caption that matches whole and in one piece adds no chunk (the jar's rule)."""
    summed = counts.copy()
    matches = counts[:, 4:20].reshape(-1, 4, 2, 2)
    whole = (matches[..., 0].sum((1, 2)) == counts[:, 0]) & (matches[..., 1].sum((1, 2)) == counts[:, 1])
    summed[whole & (counts[:, _CHUNKS] == 1), _CHUNKS] = 0
    return summed


def meteor_score(counts: NDArray[np.float64]) -> NDArray[Any]:
    """Score each row of counts (one caption's, or a sum): float64 in 0..1 of shape (rows,); no match gives 0."""
    matches = counts[:, 4:20].reshape(-1, 4, 2, 2)  # module, (content, function) word, (caption, reference)
    word_weights = np.array([_DELTA, 1 - _DELTA])
    weighted = np.einsum("nmws,m,w->ns", matches, _MODULE_WEIGHTS, word_weights)
    lengths, functions = counts[:, :2], counts[:, 2:4]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = (weighted / (_DELTA * (lengths - functions) + (1 - _DELTA) * functions)).T
        mean = 1 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        whole = (matches.sum((1, 2)) == lengths).all(1) & (counts[:, _CHUNKS] == 1)
        fragments = np.where(whole, 0.0, counts[:, _CHUNKS] / (counts[:, 21:].sum(1) / 2))
        score = mean * (1 - _GAMMA * fragments**_BETA)
    return np.where(np.isnan(score), 0.0, np.maximum(score, 0.0))


def meteor_measure(counts: NDArray[np.float64]) -> Measure:
    """Measure corpus METEOR from the jar's counts."""
    return Measure(meteor_sums(counts), lambda sums: 100 * meteor_score(sums))


def _request(caption: str, references: Sequence[str]) -> str:
    # "|||" separates fields. pycocoevalcap drops it from the caption; a reference may hold it as well.
    distinct = dict.fromkeys(re.sub(r"\|{3,}", "", reference) for reference in references)
    cleaned = re.sub(r"\|{3,}", "", caption).replace("  ", " ")
    return " ||| ".join(("SCORE", *distinct, cleaned))


def _ask(lines: list[str], java: Java) -> list[str]:
    jar = pycocoevalcap_folder() / "meteor" / "meteor-1.5.jar"
    # Most of the time goes into reading the paraphrase table, where the parallel collector saves a fifth.
    options = ["-XX:+UseParallelGC"]
    command = java.command(2.0, str(jar), "Meteor", "-", "-", "-stdio", "-l", "en", "-norm", options=options)
    given = "".join(line + "\n" for line in lines).encode("utf-8", "replace")
    # The jar looks for its paraphrase table beside itself, in the folder that it is started in.
    try:
        done = subprocess.run(command, input=given, capture_output=True, env=environment(), cwd=jar.parent)
    except OSError as error:
        raise JavaError(f"METEOR cannot run: {error}") from None
    answers = done.stdout.decode("utf-8", "replace").split()
    if done.returncode or len(answers) != COUNTS * len(lines):
        reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise JavaError(
            f"METEOR failed in Java {java.version}: {len(answers) / COUNTS:g} of {len(lines)} captions. {reason}"
        )
    try:
        rows = [[float(word) for word in answers[at : at + COUNTS]] for at in range(0, len(answers), COUNTS)]
    except ValueError:
        raise JavaError(f"METEOR printed something else than numbers in Java {java.version}.") from None
    return [json.dumps(row) for row in rows]
