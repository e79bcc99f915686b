"""Every text that a model is asked or taught with, and the way back from a question to its pair.

The three task templates are read off the figures of the LLaVA-VSD repository (``swordlidev/LLaVA-VSD``); one example
per task is visible there. The chat format is that of Vicuna v1 as LLaVA-1.6 uses it, with the begin and end tokens
written out: the template of the published checkpoint has no end token after the answer, so a model tuned with it is
never taught to stop, and whether a begin token is added depends on the caller.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

from vsd_utils.data.annotations import RELATIONS

IMAGE = "<image>"
TASKS = (1, 2, 3)
SENTENCE_BREAK = " \n "  # between the three sentences of a task 3 answer

QUESTIONS = {
    1: "Given the image, choose the most appropriate preposition to complete the sentence: "
    "'The {s} is [BLANK] the {o}'. Select from: " + ", ".join(RELATIONS) + ".",
    2: "Based on the image, provide a concise textual description or phrase of the single spatial relationship "
    "between the two objects {s} and {o}.",
    3: "Using the image as a reference, generate three detailed and diverse textual descriptions that describe the "
    "spatial relationship between the two objects {s} and {o}.",
}

SYSTEM_PROMPTS = {
    "none": "",
    "vicuna": "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.",
}

# Message content is a plain string or a list of image and text blocks; the image comes before the text. A line break
# of the file that follows a tag is layout, as it is for transformers; without these the template is what models save.
_TEMPLATE_FILE = Path(__file__).with_name("vicuna.jinja")
CHAT_TEMPLATE = re.sub(r"(?<=[%}]})\n *", "", _TEMPLATE_FILE.read_text(encoding="utf-8"))


class Question(NamedTuple):
    """Hold what a question asks: the task (1 to 3) and the two names."""

    task: int
    subject: str
    object: str


def question(task: int, subject_name: str, object_name: str) -> str:
    """Ask the paper's question of ``task`` (1 to 3) about a pair; names go in as they are, quotes and dots included."""
    # One pass over the template, so that a name which looks like a placeholder is left alone.
    names = {"{s}": subject_name, "{o}": object_name}
    return re.sub(r"\{[so]\}", lambda match: names[match.group()], QUESTIONS[task])


def read_question(text: str) -> Question:
    """Read task and names back from a text of ``question``; raises ``ValueError`` for any other text.

    Tasks 2 and 3 join the names by " and ": were it part of the subject's name, the earliest split would be taken.
    """
    for task, pattern in _PATTERNS.items():
        if match := pattern.fullmatch(text):
            return Question(task, match["s"], match["o"])
    raise ValueError(f"not a question of the three tasks: {text!r}")


def messages(question: str, system_prompt: str = "none") -> list[dict[str, Any]]:
    """Make the prompt of a conversation: a system message, if any, and the question (the image goes before it).

    ``system_prompt`` is a name in ``SYSTEM_PROMPTS``.
    """
    system = SYSTEM_PROMPTS[system_prompt]
    return [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": question}]


def sentences(answer: str, count: int) -> list[str]:
    """Split a generated answer into ``count`` sentences, one a line; missing ones are empty, further ones are dropped.

    Line breaks are the only separators: white space inside a line is folded, so no sentence ever holds a line break.
    """
    lines = [" ".join(line.split()) for line in answer.splitlines()]
    return ([line for line in lines if line] + [""] * count)[:count]


def _pattern(task: int) -> re.Pattern[str]:
    first, rest = QUESTIONS[task].split("{s}")
    middle, last = rest.split("{o}")
    return re.compile(f"{re.escape(first)}(?P<s>.+?){re.escape(middle)}(?P<o>.+){re.escape(last)}", re.DOTALL)


_PATTERNS = {task: _pattern(task) for task in TASKS}
