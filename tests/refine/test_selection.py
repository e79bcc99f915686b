import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vsd_utils.common.errors import VsdError
from vsd_utils.refine.chat_answers import Reading
from vsd_utils.refine.local_model import Settings, generate, render
from vsd_utils.refine.prompts import conversations
from vsd_utils.refine.rewriting import refine, rewrite
from vsd_utils.refine.selection import (
    FIELDS,
    MIN_GAIN,
    acceptable,
    choose,
    choose_any,
    keeps,
    mbleu4,
    refined,
    rejection,
    select,
    tally,
    tally_answers,
    words,
)

ALIKE = ["there is a ball on the box.", "there is a red ball on the box.", "there is a ball on the big box."]


def row(sentences=ALIKE, identity="7#0", **changes):
    # The annotated relation is another one on purpose: nothing here may look at it.
    about = {"subject": "ball", "object": "box", "relation": "behind", "label": "on"}
    return {"id": identity, "img_id": identity[:-2], "task": 3, "sentences": list(sentences), **about, **changes}


def test_mbleu4_is_that_of_pycocoevalcap():
    from pycocoevalcap.bleu.bleu import Bleu

    rest = {k: [" ".join(words(s)) for j, s in enumerate(ALIKE) if j != k] for k in range(3)}
    _, scores = Bleu(4).compute_score(rest, {k: [" ".join(words(s))] for k, s in enumerate(ALIKE)}, verbose=0)
    assert mbleu4(ALIKE) == pytest.approx(sum(scores[3]) / 3)
    assert mbleu4([ALIKE[0]] * 3) == pytest.approx(1)


def test_a_true_and_different_rewrite_is_accepted():
    choice = choose(row(), ["On the box sits a ball.", "The ball is behind the box.", "The box is beneath the ball."])
    assert choice.reason == "accepted"
    assert {"On the box sits a ball.", "The box is beneath the ball."} <= set(choice.sentences)
    assert mbleu4(choice.sentences) < mbleu4(ALIKE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The ball is to the left of the box.", "relation_not_stated"),
        ("The box is on the ball.", "relation_not_stated"),
        ("The ball is on it.", "relation_not_stated"),
        ("The ball is not on the box.", "new_words"),
        ("There is a ball on the box!!", "not_one_sentence"),
        ("The ball is on the box. It is red.", "not_one_sentence"),
        ("The ball is on the box\nand red.", "not_one_sentence"),
        ("The ball: on the box.", "not_one_sentence"),
        ("THERE IS A BALL ON THE BOX", "unchanged"),
        ("A ball, the ball, is on the box.", "repetitive"),
        ("The box is the ball is on the box.", "repetitive"),
        ("There is the ball is on the box.", "repetitive"),
        ("The ball is on the " + "very " * 20 + "big box.", "length"),
        ("", "length"),
        ("On the box is a ball by a window.", "new_words"),
    ],
)
def test_what_is_no_acceptable_rewrite(text, reason):
    assert rejection(text, row()) == reason
    assert not acceptable(text, row())
    assert choose(row(), [text]) == (ALIKE, "no_valid_rewrite", 0, {reason: 1})


def test_names_with_punctuation():
    television = ["the cow's ear is on the t.v.", "there is a cow's ear on the t.v.", "there is a cow's ear on a t.v."]
    candidates = ["On the t.v. is a cow's ear.", "The t.v. is below the cow's ear."]
    about = row(television, subject="cow's ear", object="t.v.")
    assert all(acceptable(candidate, about) for candidate in candidates)
    assert choose(about, candidates).reason == "accepted"


def test_reasons_for_leaving_an_item_alone():
    good = ["On the box sits a ball."]
    assert choose(row(label="behind"), good).reason == "unclear_original"
    assert choose(row(label="no idea"), good).reason == "unclear_original"
    assert choose(row(["", "", ""]), good).reason == "unclear_original"
    diverse = ["ball on box.", "Under a ball there is the box.", "A big box has one ball on it."]
    assert choose(row(diverse), good).reason == "already_diverse"
    assert choose(row([ALIKE[0]] * 3), ["there is a ball on the box now."]).reason == "not_more_diverse"
    assert choose(row(), []).reason == "no_readable_answer"


def test_a_sentence_that_contradicts_the_prediction_does_not_stay():
    contradicting = [ALIKE[0], ALIKE[0], "The ball is behind the box."]
    choice = choose(row(contradicting), ["On the box sits a ball.", "The box is beneath the ball."])
    assert choice.reason == "accepted"
    assert contradicting[2] not in choice.sentences


SALAD = "the a ball balls box is on under beneath behind red sits not and , ."
fragments = st.lists(st.sampled_from(SALAD.split(" ")))
texts = st.one_of(st.text(max_size=40), fragments.map(" ".join), st.sampled_from([*ALIKE, "On the box sits a ball."]))


@given(st.lists(texts, min_size=3, max_size=3), st.lists(texts, max_size=6))
def test_what_is_accepted_is_true_and_more_diverse_and_nothing_else_changes(originals, candidates):
    before = row(originals)
    after = refined(before, choose(before, candidates))
    assert after.keys() == {*before, *FIELDS}
    assert after["original"] == originals
    assert len(after["sentences"]) == 3
    if after["accepted"]:
        assert mbleu4(after["sentences"]) <= mbleu4(originals) - MIN_GAIN
        assert all(keeps(sentence, before) for sentence in after["sentences"])
        assert len({tuple(words(sentence)) for sentence in after["sentences"]}) == 3
        assert set(after["sentences"]) <= {*originals, *candidates}
    else:
        assert after["sentences"] == originals
    assert {key: after[key] for key in before if key != "sentences"} == {
        key: before[key] for key in before if key != "sentences"
    }


def test_unreadable_answers_are_counted_apart_from_rejected_rewrites():
    good, bad = "On the box sits a ball.", "The ball is behind the box."
    readings = [Reading([good, bad], None), Reading([bad], None), Reading([], "cut_off"), Reading([], "empty")]
    rows = [refined(row(), choose(row(), [good, bad, bad]), readings), refined(row(), choose(row(), []), readings[2:])]
    assert rows[0]["readable_answers"] == 2
    assert rows[0]["unreadable_answers"] == {"cut_off": 1, "empty": 1}
    assert rows[0]["acceptable_rewrites"] == 1
    assert rows[0]["rejected_rewrites"] == {"relation_not_stated": 2}
    assert rows[1]["reason"] == "no_readable_answer"
    assert tally_answers(rows) == {
        ("answers", "readable"): 2,
        ("answers", "unreadable: cut_off"): 2,
        ("answers", "unreadable: empty"): 2,
        ("rewrites", "acceptable"): 1,
        ("rewrites", "rejected: relation_not_stated"): 2,
    }


def test_select_does_not_depend_on_the_order():
    rows = [row(identity=f"{i}#0") for i in range(20)]
    chosen = select(rows, 5, seed=3)
    assert len(chosen) == 5
    assert chosen == select(rows[::-1], 5, seed=3)
    assert chosen != select(rows, 5, seed=4)
    assert select(rows, 0, seed=3) == select(rows, 99, seed=3) == {r["id"] for r in rows}


@pytest.fixture(scope="module")
def tiny():
    """A random Llama whose words are those of the sentences, so that even noise names the objects now and then."""
    names = "<pad> <end> <unk> the a ball box is on sits under there of Sentence : . user assistant"
    vocabulary = names.split(" ")
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    template = (
        "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} <end> {% endfor %}"
        "{% if add_generation_prompt %}assistant :{% endif %}"
    )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", unk_token="<unk>", chat_template=template
    )
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(vocabulary), num_key_value_heads=1, pad_token_id=0, eos_token_id=1, **size)
    return LlamaForCausalLM(config).eval(), wrapped


SAMPLED = {"candidates": 3, "temperature": 1.0, "top_p": 0.95, "max_new_tokens": 8}
SETTINGS = Settings(prompt="sentence", batch_size=2, ask_hopeless=False, seed=1, **SAMPLED)


@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_resumed_refinement_gives_the_rows_of_one_go(tiny, prompt, tmp_path):
    settings = SETTINGS.model_copy(update={"prompt": prompt})
    rows = [row(identity=f"{i}#0") for i in range(6)]
    chosen = {f"{i}#0" for i in range(5)}
    unfinished = tmp_path / "rewriting.jsonl"
    whole = refine(rows, chosen, *tiny, settings, unfinished)
    assert [done["id"] for done in whole] == [r["id"] for r in rows]
    assert tally(whole)["not_selected"] == 1
    lines = unfinished.read_text().splitlines(keepends=True)
    assert len(lines) == 5
    # What a kill leaves: one row of the second batch, and a line cut short.
    unfinished.write_text("".join(lines[:3]) + lines[3][:40])
    torch.manual_seed(99)
    assert refine(rows, chosen, *tiny, settings, unfinished) == whole
    assert unfinished.read_text().splitlines(keepends=True) == lines
    # Every answer that was sampled is counted, those that were cut off too.
    chats = 1 if prompt == "set" else 3
    for done in whole[:5]:
        assert done["readable_answers"] + sum(done["unreadable_answers"].values()) == chats * settings.candidates
        assert done["acceptable_rewrites"] + sum(done["rejected_rewrites"].values()) >= done["readable_answers"]
    assert any(done["unreadable_answers"].get("cut_off") for done in whole)


@pytest.mark.parametrize("candidates", [1, 3])
def test_what_is_read_once_for_many_does_not_change_the_answers(tiny, candidates):
    """At a temperature near 0 sampling is greedy: each chat alone, run plainly, has to give the same answer."""
    model, tokenizer = tiny
    settings = SETTINGS.model_copy(update={"temperature": 1e-4, "candidates": candidates})
    chats = conversations(row(["ball on box", "there is a ball on the box.", "the ball sits on the box."]), "sentence")
    together = generate(chats, model, tokenizer, settings, seed=0)
    for chat, answers in zip(chats, together, strict=True):
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
        plain = model.generate(
            input_ids=ids["input_ids"], do_sample=False, max_new_tokens=8, eos_token_id=1, pad_token_id=0
        )
        tail = plain[0, ids["input_ids"].shape[1] :].tolist()
        answer = tokenizer.decode(tail, skip_special_tokens=True).strip() if 1 in tail else None
        assert answers == [answer] * candidates


def test_prompts_show_the_prediction_and_never_the_annotation():
    text = str(conversations(row(subject="{object}", label="on"), "set"))
    assert "the {object} is on the box" in text
    assert "behind" not in text
    assert ALIKE[1] in text
    assert len(conversations(row([ALIKE[0], ALIKE[0], ""]), "sentence")) == 1


REFUSES = """{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}
{%- endif %}{{ m['role'] }} : {{ m['content'] | trim }} <end> {% endfor %}"""
IGNORES = "{% for m in messages if m['role'] != 'system' %}{{ m['role'] }} : {{ m['content'] }} <end> {% endfor %}"


@pytest.mark.parametrize("prompt", ["sentence", "set"])
@pytest.mark.parametrize("template", [REFUSES, IGNORES])
def test_a_template_without_a_system_role_shows_its_text_to_the_user(tiny, template, prompt):
    model, tokenizer = tiny
    [system, user, *rest] = conversations(row(), prompt)[0]
    bare = copy.copy(tokenizer)
    bare.chat_template = template
    [text] = render([[system, user, *rest]], bare)
    assert text.startswith(f"user : {system['content']}\n\n{user['content']} <end> ")
    assert text.count(system["content"]) == 1
    assert all(turn["content"] in text for turn in rest)
    settings = SETTINGS.model_copy(update={"prompt": prompt})
    assert len(rewrite([row()], model, bare, settings)) == 1


def test_a_template_with_a_system_role_renders_as_it_is(tiny):
    _, tokenizer = tiny
    chats = [*conversations(row(), "sentence"), *conversations(row(), "set")]
    plain = [tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats]
    assert render(chats, tokenizer) == plain
    assert all(text.startswith(f"system : {chat[0]['content']} <end>") for text, chat in zip(plain, chats, strict=True))


def test_a_template_that_cannot_render_a_chat_is_reported(tiny):
    broken = copy.copy(tiny[1])
    broken.chat_template = "{{ raise_exception('only tools') }}"
    with pytest.raises(VsdError, match=r"(?s)cannot render.*only tools.*chat_template\.jinja"):
        render(conversations(row(), "set"), broken)


def test_a_tokenizer_of_another_model_is_reported(tiny):
    model, tokenizer = tiny
    config = LlamaConfig(**{**model.config.to_dict(), "vocab_size": 8})
    with pytest.raises(VsdError, match=r"knows 8 tokens.*do not belong together"):
        generate(conversations(row(), "set"), LlamaForCausalLM(config), tokenizer, SETTINGS, seed=0)


def test_rows_without_a_label_are_refused(tiny, tmp_path):
    bare = row()
    del bare["label"]
    with pytest.raises(VsdError, match=r"7#0.*lacks label"):
        refine([bare], {"7#0"}, *tiny, SETTINGS, tmp_path / "rewriting.jsonl")
    with pytest.raises(VsdError, match="task 2"):
        refine([row(task=2)], {"7#0"}, *tiny, SETTINGS, tmp_path / "rewriting.jsonl")


def test_without_the_rule_any_three_are_taken_and_the_rule_still_counts() -> None:
    about = row()
    said = ["A ball is behind the box.", "a ball is behind the box", "bananas", "On the box sits a ball.", "a box"]
    choice = choose_any(about, said)
    assert choice.sentences == ["A ball is behind the box.", "bananas", "On the box sits a ball."]
    assert (choice.reason, choice.acceptable_rewrites) == ("accepted", 1)
    assert sum(choice.rejected_rewrites.values()) == 4
    assert choose_any(about, said[:2]) == (ALIKE, "no_readable_answer", 0, {"relation_not_stated": 2})
    assert choose_any(row(label="no idea"), said).reason == "accepted"
