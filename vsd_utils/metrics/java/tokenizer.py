"""Captions as the COCO evaluator reads them: Stanford PTB tokens, lower case, punctuation dropped.

The tokenizer is the jar that pycocoevalcap ships. It takes a file of lines and its answers are told apart by counting
lines, so a caption with any kind of line break would shift all later ones onto the wrong image. Here line breaks become
spaces, a numbered line stands after each caption, and an answer counts only when those lines are where they belong.
"""

import subprocess
import tempfile
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from vsd_utils.metrics.java.cache import Store, cache_folder
from vsd_utils.metrics.java.jars import pycocoevalcap_folder
from vsd_utils.metrics.java.runtime import Java, JavaError, environment, find_java

TOKENIZER = "Stanford PTBTokenizer 3.4.1 of pycocoevalcap, lower case, its punctuation list dropped"
_JAR = "stanford-corenlp-3.4.1.jar"


def one_line(text: str) -> str:
    """Put spaces and U+FFFD for line breaks, other control characters and broken surrogates."""
    if text.isascii() and text.isprintable():
        return text
    replaced = {"Cc": " ", "Zl": " ", "Zp": " ", "Cs": "\ufffd"}
    return "".join(replaced.get(unicodedata.category(character), character) for character in text)


def tokenize(captions: Iterable[str], java: Java | None = None, folder: Path | None = None) -> dict[str, str]:
    """Tokenize each distinct caption: tokens joined by single spaces, the empty string where nothing is left.

    Any text will do. What was tokenized before is taken from ``folder`` (default: the cache folder). Raises
    ``JavaError`` when there is no Java or it fails.
    """
    wanted = list(dict.fromkeys(captions))
    store = Store((folder or cache_folder()) / "tokens.sqlite", "ptb")
    known = store.get(wanted)
    new = [caption for caption in wanted if caption not in known]
    if new:
        answers = _answers([one_line(caption) for caption in new], java or find_java())
        found = {caption: _without_punctuation(answer) for caption, answer in zip(new, answers, strict=True)}
        store.put(found)
        known |= found
    return {caption: known[caption] for caption in wanted}


def _without_punctuation(line: str) -> str:
    # Imported late: with the package comes numpy, which a caller that only cleans text does not need.
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    return " ".join(word for word in line.rstrip().split(" ") if word not in PUNCTUATIONS)


def _answers(lines: list[str], java: Java) -> list[str]:
    """Return the tokenizer's line for each line; where the numbered lines are out of place, ask the halves alone."""
    marks = [f"line{number}" for number in range(len(lines))]
    output = _run("".join(f"{line}\n{mark}\n" for line, mark in zip(lines, marks, strict=True)), java)
    answered = output.split("\n")
    if answered[1::2] == marks and len(answered) == 2 * len(lines) + 1:
        return answered[0:-1:2]
    if len(lines) == 1:
        return [" ".join(word for word in " ".join(answered).split() if word != marks[0])]
    middle = len(lines) // 2
    return _answers(lines[:middle], java) + _answers(lines[middle:], java)


def _run(text: str, java: Java) -> str:
    main = "edu.stanford.nlp.process.PTBTokenizer"
    class_path = str(pycocoevalcap_folder() / "tokenizer" / _JAR)
    try:
        with tempfile.TemporaryDirectory(prefix="tokens-") as folder:
            path = Path(folder, "captions.txt")
            path.write_text(text, encoding="utf-8", newline="\n")
            arguments = ("-preserveLines", "-lowerCase", "-encoding", "UTF-8", str(path))
            command = java.command(1.0, class_path, main, *arguments)
            done = subprocess.run(command, capture_output=True, env=environment())
    except OSError as error:
        raise JavaError(f"the tokenizer cannot run: {error}") from None
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise JavaError(f"the tokenizer failed in Java {java.version} with status {done.returncode}: {reason}")
    return done.stdout.decode("utf-8", "replace").replace("\r\n", "\n")
