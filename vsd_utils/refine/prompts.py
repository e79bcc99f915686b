"""What the chat model is asked: one sentence at a time with two examples, or the three sentences together.

The paper's prompt could not be read; both are ours.
"""

from collections.abc import Mapping
from typing import Any

from vsd_utils.refine.chat_answers import Prompt

# Each pair is a sentence and a rewrite of it; the second turns the order round, so that the model sees it may.
EXAMPLES = (
    ("the cup is behind the laptop.", "A cup can be seen behind the laptop."),
    ("there is a dog to the right of the car.", "To the right of the car stands a dog."),
)
REFINE_SYSTEM = "Rewrite the sentence."
REFINE_SENTENCE = "Sentence: {sentence}\nSame meaning, other words:"
REFINE_SYSTEM_SET = (
    "You rewrite descriptions of where things are. You keep every fact and both objects' names, add nothing, and vary "
    "wording, word order and sentence structure as much as you can."
)
REFINE_SET = (
    "Three sentences about the same two things, of which this is true: the {subject} is {relation} the {object}.\n"
    "{sentences}\n"
    "Rewrite them as three sentences that are as different from each other as possible. Every one has to say that the "
    "{subject} is {relation} the {object} (or the same from the {object}'s side), and has to use the words "
    '"{subject}" and "{object}". Answer with the three sentences alone, one a line, without numbers.'
)


def conversations(row: Mapping[str, Any], prompt: Prompt) -> list[list[dict[str, str]]]:
    """Write the chats that ask for rewrites of a row: one for each distinct sentence, or one for the three together."""
    sentences = [sentence for sentence in dict.fromkeys(row["sentences"]) if sentence]
    if prompt == "set":
        shown = "\n".join(f"- {sentence}" for sentence in sentences)
        names = {"{subject}": row["subject"], "{relation}": row["label"], "{object}": row["object"]}
        text = "".join(names.get(part, shown if part == "{sentences}" else part) for part in _parts(REFINE_SET))
        return [[{"role": "system", "content": REFINE_SYSTEM_SET}, {"role": "user", "content": text}]]
    turns = [{"role": "system", "content": REFINE_SYSTEM}]
    for sentence, rewrite in EXAMPLES:
        turns.append({"role": "user", "content": REFINE_SENTENCE.replace("{sentence}", sentence)})
        turns.append({"role": "assistant", "content": rewrite})
    asked = (REFINE_SENTENCE.replace("{sentence}", sentence) for sentence in sentences)
    return [[*turns, {"role": "user", "content": text}] for text in asked]


def _parts(template: str) -> list[str]:
    """Cut the template at its placeholders, so that a name which looks like one is left alone."""
    return template.replace("{", "\0{").replace("}", "}\0").split("\0")
