"""What chat models put round a sentence is taken off, and the sentence itself is left as it is."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsd_utils.common.files import read_json
from vsd_utils.refine.chat_answers import Reading, read

NAMES = ["cup", "laptop", "cow's ear", "t.v.", "chair.", "dogs' bowl", "a man: tall", '"stop" sign', "3 balls", "T.V"]
SHAPES = [
    "The {s} is behind the {o}.",
    "there is a {s} to the left of the {o}",
    "Behind the {o} stands a {s}.",
    "{s} next to {o}",
    "2 of the {s} can't be seen behind the {o}.",
    "One {s}, as tall as 1.5 men, is under the {o}.",
    'The word "STOP" is on the {s} and not on the {o}.',
    "Below the {o} is a {s}!",
    "These are the {s} and the {o}, side-by-side (nearly).",
    "A. Lincoln’s {s} is on the {o}.",
    "3 - 4 of the {s} are in front of the {o}.",
]
names = st.lists(st.sampled_from(NAMES), min_size=2, max_size=2, unique=True)


def shaped(shape: str, pair: list[str]) -> str:
    return shape.replace("{s}", pair[0]).replace("{o}", pair[1])


def ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!")) else f"{sentence}."


def numbered(template: str, joint: str = "\n"):
    return lambda three: joint.join(
        template.format(n=n, a="abc"[n - 1], A="ABC"[n - 1], i="iii"[:n], nth=["First", "Second", "Third"][n - 1], s=s)
        for n, s in enumerate(three, 1)
    )


LINES = [
    *("{s}", "{n}. {s}", "{n}) {s}", "{n}: {s}", "({n}) {s}", "[{n}] {s}", "{n} - {s}", "#{n}: {s}", "{n}.) {s}"),
    *("{a}) {s}", "({a}) {s}", "{A}. {s}", "{A}: {s}", "{i}. {s}", "({i}) {s}", "- {s}", "* {s}", "+ {s}", "• {s}"),
    *("– {s}", "— {s}", "> {s}", "- [ ] {s}", "  {n}.   {s}  ", "### {s}", "### {n}. {s}", "### Sentence {n}\n{s}\n"),
    *("Sentence {n}: {s}", "Sentence {n}. {s}", "Rewrite {n} - {s}", "**Sentence {n}:** {s}", "Option {A}: {s}"),
    *("{nth}: {s}", "{nth} sentence: {s}", "{n}. New sentence: {s}", "**{n}.** {s}", "**{n}. {s}**", "{n}. **{s}**"),
    *("**{s}**", "*{s}*", "__{s}__", "_{s}_", "***{s}***", "`{s}`", "{n}. *{s}*", "- `{s}`", "{s}\\", "{s}<br>"),
    *('"{s}"', "'{s}'", "“{s}”", "„{s}“", "‘{s}’", "«{s}»", "« {s} »", "‹{s}›", "``{s}``", "「{s}」", "[{s}]", "({s})"),
    *('{n}. "{s}"', '- **"{s}"**', '"{s}",', "{n}. “{s}”,", "<li>{s}</li>", "<text>{s}</text>", "| {n} | {s} |"),
]
WRAPPERS = {template: numbered(template) for template in LINES} | {
    "blank lines": "\n\n".join,
    "JSON list": json.dumps,
    "indented": lambda three: json.dumps(three, indent=2, ensure_ascii=False),
    "JSON object": lambda three: json.dumps({"sentences": three}),
    "JSON keys": lambda three: json.dumps({f"sentence_{n}": s for n, s in enumerate(three)}),
    "JSON objects": lambda three: json.dumps([{"id": n, "sentence": s} for n, s in enumerate(three)]),
    "JSON with originals": lambda three: json.dumps([{"original": "a cup is there", "rewrite": s} for s in three]),
    "JSON lines": lambda three: "\n".join(json.dumps({"text": s}) for s in three),
    "Python list": repr,
    "fenced JSON": lambda three: f"```json\n{json.dumps(three, indent=1)}\n```",
    "fenced text": lambda three: "```\n" + "\n".join(three) + "\n```",
    "one string": lambda three: json.dumps({"answer": "\n".join(three)}),
    "literal line breaks": " \\n ".join,
}
BEFORE = [
    *("", "Sure! Here are three:\n", "Certainly!\n\n", "Of course, here are three different sentences.\n\n"),
    *("Here are three sentences about the cup and the laptop:\n\n", "<think>\nThe cup is first.\n</think>\n\n"),
    *("The user wants:\n1. a cup\n</think>\n", "### Rewritten Sentences\n\n", "**Rewrites:**\n", "<answer>\n"),
]
AFTER = [
    *("", "\n\nI hope this helps!", "\n\nLet me know if you'd like more variations!"),
    *("\n</answer>", "\n---\nNote: all of it is true."),
    *("\nAll three sentences have the same meaning.", "\n\nI kept every fact.", "\n\nWould you like others?"),
]


@given(st.sampled_from(SHAPES), names, st.sampled_from(["sentence", "set"]))
def test_a_plain_sentence_stays_as_it_is(shape, pair, prompt) -> None:
    sentence = shaped(shape, pair)
    assert read(sentence, prompt, pair) == Reading([sentence], None)


@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_captions_that_people_wrote_stay_as_they_are(real_vsd, prompt) -> None:
    checked = 0
    for file, key in (("VSDv1/val.json", "captions"), ("VSDv2/newvsd_val.json", "captions")):
        for entry in read_json(real_vsd / file):
            for triple in entry["triple_list"][:1]:
                for caption in entry[key]:
                    plain = " ".join(caption.split())
                    assert read(plain, prompt, [triple["s"], triple["o"]]).sentences == [plain]
                    checked += 1
    assert checked > 15_000


# Straight quotes inside of straight quotes are told apart only where a sentence has a line of its own.
unquoted_names = names.filter(lambda pair: '"stop" sign' not in pair)
capitalised = [shape for shape in SHAPES if shape[0].isupper() and '"' not in shape]
three_capitalised = st.lists(st.sampled_from(capitalised), min_size=3, max_size=3, unique=True)
three_sentences = st.lists(st.sampled_from(SHAPES), min_size=3, max_size=3, unique=True)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@given(three_sentences, names, st.sampled_from(BEFORE), st.sampled_from(AFTER))
@settings(max_examples=20)
def test_every_shape_of_an_answer_gives_its_sentences(wrapper, shapes, pair, before, after) -> None:
    three = [shaped(shape, pair) for shape in shapes]
    answer = before + WRAPPERS[wrapper](three) + after
    assert read(answer, "set", pair) == Reading(three, None)
    assert read(answer, "sentence", pair) == Reading(three[:1], None)


@pytest.mark.parametrize(
    "template", ["{s}", "{n}. {s}", "({n}) {s}", '"{s}"', "Sentence {n}: {s}", "**{n}.** {s}", "{s}|"]
)
@given(
    three_capitalised, unquoted_names, st.sampled_from(["", "Sure! Here are three: ", "Here are three sentences:\n"])
)
def test_three_sentences_in_one_line(template, shapes, pair, before) -> None:
    three = [ended(shaped(shape, pair)) for shape in shapes]
    answer = before + numbered(template.replace("|", " |"), " ")(three)
    assert read(answer, "set", pair) == Reading(three, None)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "cut_off"),
        ("", "empty"),
        (" \n\u200b", "empty"),
        ("<think>\nThe cup is behind the laptop.\n</think>\n", "only_thoughts"),
        ("<think>\nThe cup is behind the laptop, so", "only_thoughts"),
        ('["The cup is behind the laptop.", "The', "broken_json"),
        ('{"sentences": ["The cup is behind" the laptop."]}', "broken_json"),
        ("Sure! Here are three sentences:", "no_sentence"),
        ("1.\n2.\n3.", "no_sentence"),
        ("```\n```", "no_sentence"),
        ("I rewrote all of them. Let me know if you need more!", "no_sentence"),
    ],
)
@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_what_cannot_be_read_says_why(answer, reason, prompt) -> None:
    assert read(answer, prompt, ["cup", "laptop"]) == Reading([], reason)


@given(
    st.one_of(st.text(), st.text("[]{}\"',:.<>*_`- \n1aA/"), st.text("<think/> \n")),
    st.sampled_from(["sentence", "set"]),
)
def test_any_text_is_read_or_counted(answer, prompt) -> None:
    found = read(answer, prompt, ["cup", "laptop"])
    assert bool(found.sentences) is (found.unreadable is None)
    assert all(sentence == " ".join(sentence.split()) != "" for sentence in found.sentences)
