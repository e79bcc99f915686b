"""Reading the answers of chat models: the sentences in them, without what such models put round a sentence.

Taken off are thoughts, preambles and closing remarks, JSON, code fences, tags, list marks, labels ("Sentence 1:"),
emphasis and quotes. A sentence itself stays as it is, but for runs of white space. Whether it is a good one is judged
in ``vsd_utils.refine.selection``; an answer that no sentence can be read from is told apart from a bad sentence.
"""

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

# How a chat model is asked: sentence by sentence, for all three at once, or not at all (``grammar.py``).
Prompt = Literal["sentence", "set", "grammar"]
# Why an answer cannot be read: it was cut off at the limit of new tokens, is empty, has nothing after its thoughts,
# begins as JSON that does not parse, or is made of remarks and marks alone.
Unreadable = Literal["cut_off", "empty", "only_thoughts", "broken_json", "no_sentence"]


class Reading(NamedTuple):
    """The sentences of an answer, in its order; ``unreadable`` says why there are none, else it is None."""

    sentences: list[str]
    unreadable: Unreadable | None


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# With these words an answer speaks of itself ...
_OF_THE_ANSWER = _words(
    "sentence sentences rewrite rewrites rewritten rewriting reworded rewording rephrase rephrased rephrasing "
    "paraphrase paraphrased paraphrases paraphrasing version versions variation variations variant variants "
    "alternative alternatives option options answer answers output response result wording phrasing "
    "description descriptions statement statements meaning revision revised way ways say here here's first "
    "second third 1st 2nd 3rd"
)
# ... and says nothing more if these are its only other ones.
_FILLERS = _words(
    "a an the is are it its it's of to in with and or by but for as that this these which below following final new "
    "other another different same similar slightly diverse possible more most each all three two one words using "
    "keeping my your you i've have i can original requested set list number no about describing"
)
_COURTESY = r"(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|alright|yes|understood|got it|no problem)"
_REMARK = re.compile(
    rf"(?:{_COURTESY}|(?:thanks|thank you)\b.*|you're welcome)[\s!.,]*$"
    r"|\W*(?:notes?|explanations?|reasoning|remarks?|comments?)\s*:"
    r"|(?:.*\W)?(?:hopes? (?:this|these|that|it) helps?|let me know|feel free to|(?:happy|glad) to (?:help|assist)"
    r"|would you like|do you (?:want|need)|if you (?:need|want|would|have)|note that)\b"
    r"|(?:all|both|each|every|these|the)(?: of)?(?: the| these)?(?: above)?(?: three)? (?:sentence|rewrite|version)s?\b"
    r"|i(?:'ve| have)? (?:rewrote|rewritten|rephrased|paraphrased|changed|kept|used|varied|tried|made)\b"
)

_THINK = r"(?:think|thinking|thoughts?|reasoning)"
_THOUGHTS = re.compile(rf"<{_THINK}>(?:(?!<{_THINK}>).)*</{_THINK}>", re.DOTALL | re.IGNORECASE)
# The prompt itself may open the thoughts, and the answer may end inside them.
_REST_OF_THOUGHTS = re.compile(rf"\A.*</{_THINK}>|<{_THINK}>.*\Z", re.DOTALL | re.IGNORECASE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)[ \t]*\w*[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"</?[a-z][^<>\n]*>|<\|[^<>|\n]*\|>", re.IGNORECASE)
# Where JSON, or a list as Python prints it, may begin; 'a ["red"] cup' does not begin one.
_DOCUMENT = re.compile(r"(?:^|:)\s*([\[{])(?=\s*[\"'\[{])", re.MULTILINE)
_BROKEN_DOCUMENT = re.compile(r"\s*[\[{]\s*[\"'\[{].*[\"']\s*[,:\]}]", re.DOTALL)

_EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3}|_{1,3}|~~|`{1,3})(?![\s*_`])(.+?)(?<!\s)\1(?![\w*])")
_BULLET = re.compile(r"(?:#{1,6}(?!\d)|>|[-+*•‣⁃▪■□●○◦·–—→✓✔]|\[[ xX]\])\s*")
_NUMBER = re.compile(
    r"[#(\[]?\s?\d{1,2}[.):\]]+(?:\s+|$|(?=[A-Z][a-z]|[A-Z] |[\"“«*]))"
    r"|[(\[]?(?:[a-hA-H]|[iI]{1,3}|iv|v)[)\]]\.?(?:\s+|$)|#\d{1,2}\s+"
)
# These may also begin a sentence ("A. Lincoln is ...", "3 - 4 cups are ..."), so they are marks only if they count up.
_WEAK_MARK = re.compile(r"([a-h]|i{1,3}|iv|v|\d)(?:[.:](?:\s+|$)|\s?[-–—]\s+)", re.IGNORECASE)
_COUNTS = ([*"abcdefgh"], ["i", "ii", "iii", "iv", "v"], [*"123456789"])
_LABEL = re.compile(r"([^:.!?)\"“]{1,120}?)\s*(?::\s*|[.)]\s+|\s[-–—]\s+)")
_POLITE = re.compile(rf"{_COURTESY}[!,.:]\s+", re.IGNORECASE)
_QUOTES = ('""', "''", "``", "“”", "„“", "””", "‘’", "‚‘", "«»", "»«", "‹›", "「」", "[]", "()")

# Not after an initial, as in "T. Smith".
_SENTENCE_END = re.compile(
    r"((?<![^\w\0][A-Za-z])(?<!^[A-Za-z])[.!?][\"'”’»*_]*)[,;]?\s+(?:[|/]\s+)?|\s+[|/]\s+|[,;]?\s+(?=\(?[1-9]\)\s)|;\s+"
)
# Stand for the marks inside of a name while a line is cut at those that end a sentence.
_HIDDEN = str.maketrans(".!?;|/", "\0\1\2\3\4\5")
_SHOWN = str.maketrans("\0\1\2\3\4\5", ".!?;|/")
_FEWEST_WORDS = 3


def read(answer: str | None, prompt: Prompt, names: Sequence[str]) -> Reading:
    """Read the sentences of an answer: the first one, or for the prompt "set" every one.

    ``answer`` is None if it was cut off. ``names`` are those of the two objects: a line with both is never taken for a
    remark, and a full stop inside a name ends no sentence.
    """
    if answer is None:
        return Reading([], "cut_off")
    text = re.sub("[\u200b\ufeff]", "", answer)
    if not text.strip():
        return Reading([], "empty")
    text = _REST_OF_THOUGHTS.sub("", _THOUGHTS.sub("", text))
    if not text.strip():
        return Reading([], "only_thoughts")
    text = _FENCE.sub("", text)
    strings = _strings_of_documents(text)
    if strings is None and _BROKEN_DOCUMENT.match(text):
        return Reading([], "broken_json")
    lines = _lines("\n".join(strings) if strings else text)
    if prompt == "set" and len(found := _sentences(lines, names)) == 1:
        lines = _cut(found[0], names)
    found = _sentences(lines, names)
    if prompt == "sentence":
        found = found[:1]
    return Reading(found, None if found else "no_sentence")


def _strings_of_documents(text: str) -> list[str] | None:
    """Find all strings of at least three words in the JSON of a text, in order; None if there is no such JSON."""
    found: list[str] = []
    end = 0
    for match in _DOCUMENT.finditer(text):
        start = match.start(1)
        if start >= end:
            try:
                value, end = json.JSONDecoder().raw_decode(text, start)
            except (ValueError, RecursionError):
                closing = text.rfind("]" if match[1] == "[" else "}") + 1
                try:
                    value, end = ast.literal_eval(text[start:closing]), closing
                except (ValueError, SyntaxError, MemoryError, RecursionError):
                    continue
            found += [string for string in _strings(value) if len(string.split()) >= _FEWEST_WORDS]
    return found or None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if not str(key).casefold().startswith("original"):  # beside each rewrite, the sentence that was asked about
                yield from _strings(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner)


def _lines(text: str) -> list[str]:
    """Cut a text into lines that hold a word; the cells of a table's row are lines of their own."""
    lines: list[str] = []
    for line in _TAG.sub("\n", text).replace("\\n", "\n").splitlines():
        line = " ".join(line.split())
        cells = line.strip("|").split("|") if line.startswith("|") else [line]
        lines += [cell.strip() for cell in cells if re.search(r"\w", cell)]
    return lines


def _sentences(lines: Sequence[str], names: Sequence[str]) -> list[str]:
    """Leave out the marks, labels, quotes and remarks of lines."""
    vocabulary = (_OF_THE_ANSWER | _FILLERS) - {word for name in names for word in _words(name.casefold())}
    lines = [_EMPHASIS.sub(r"\2", line) for line in lines]
    counted = [mark[1].casefold() for line in lines if (mark := _WEAK_MARK.match(line))]
    weak_marks = len(counted) > 1 and any(counted == count[: len(counted)] for count in _COUNTS)
    bare = (_unwrapped(line, vocabulary, weak_marks) for line in lines)
    return [line for line in bare if re.search(r"[^\W\d_]", line) and not _remark(line, vocabulary, names)]


def _unwrapped(line: str, vocabulary: frozenset[str], weak_marks: bool) -> str:
    before, numbered = None, False
    while line != before:
        before = line
        line = _EMPHASIS.sub(r"\2", line).strip().rstrip("*_`\\").rstrip()
        number = None if numbered else _NUMBER.match(line) or (weak_marks and _WEAK_MARK.match(line))
        numbered = numbered or bool(number)
        if mark := number or _BULLET.match(line) or _POLITE.match(line):
            line = line[mark.end() :]
        label = _LABEL.match(line)
        if label and label.end() < len(line) and _of_the_answer(label[1], vocabulary):
            line = line[label.end() :]
        line = _unquoted(line.lstrip("*_` "))
    return line


def _of_the_answer(text: str, vocabulary: frozenset[str]) -> bool:
    """Say whether a text speaks of the answer, not of an image: "Here is another sentence", "Rewrite 2"."""
    found = {word for word in re.findall(r"[\w']+", text.casefold().replace("’", "'")) if not word.isdecimal()}
    letters = {word for word in found if len(word) == 1}  # "Option B"
    return found - letters <= vocabulary and bool(found & vocabulary & _OF_THE_ANSWER)


def _remark(line: str, vocabulary: frozenset[str], names: Sequence[str]) -> bool:
    folded = line.casefold().replace("’", "'")
    if line.endswith(":"):
        return True
    if names and all(name.casefold().replace("’", "'") in folded for name in names):
        return False
    return _of_the_answer(line, vocabulary) or _REMARK.match(folded) is not None


def _unquoted(line: str) -> str:
    """Take off a pair of quotes or brackets that holds all of the line, and a comma or full stop after that."""
    match = re.fullmatch(r"(.)\s*(.*?\S)\s*(\W)([.,;]*)", line)
    if not match or match[1] + match[3] not in _QUOTES:
        return line
    opening, inside, closing, after = match.groups()
    # Of '"stop" is written on the "road"' the two outer quotes are no pair: the first one inside closes, not opens.
    if (first := re.search(rf"(?<=\S){re.escape(closing)}(?!\w)", inside)) and re.search(
        rf"(?<!\S){re.escape(opening)}", inside[first.end() :]
    ):
        opened = re.search(rf"(?<!\S){re.escape(opening)}", inside)
        if opened is None or opened.start() > first.start():
            return line
    return inside + ("." if "." in after and inside[-1] not in ".!?" else "")


def _cut(line: str, names: Sequence[str]) -> list[str]:
    """Cut one line into its sentences; it stays whole where a piece of it is too short for one."""
    for name in sorted(filter(None, map(str.strip, names)), key=len, reverse=True):
        # A full stop of the name ends the sentence too if a capital letter follows.
        stop = r"(?!(?<=[.!?])[\"'”’»*_]*[,;]?\s+[^\w\s]*(?-i:[A-Z\d]))"
        pattern = rf"(?<!\w){re.escape(name)}(?!\w){stop}"
        line = re.sub(pattern, lambda found: found[0].translate(_HIDDEN), line, flags=re.IGNORECASE)
    pieces = _SENTENCE_END.sub(lambda found: f"{found[1] or ''}\n", line).translate(_SHOWN).split("\n")
    pieces = [piece for piece in pieces if re.search(r"[^\W\d_]", piece)]
    return pieces if all(len(piece.split()) >= _FEWEST_WORDS for piece in pieces) else [line.translate(_SHOWN)]
