import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from vsd_utils.errors import VsdError
from vsd_utils.refinement import MIN_GAIN, acceptable, choose, keeps, mbleu4, refined, select, tally, words
from vsd_utils.rewriting import Settings, conversations, generate, lines, refine

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
    "text",
    [
        "The ball is to the left of the box.",
        "The box is on the ball.",
        "The ball is on it.",
        "There is a ball on the box!!",
        "THERE IS A BALL ON THE BOX",
        "The ball is on the box. It is red.",
        "The ball is on the box\nand red.",
        "A ball, the ball, is on the box.",
        "The ball is on the " + "very " * 20 + "big box.",
        "The ball is not on the box.",
        "On the box is a ball by a window.",
        "The box is the ball is on the box.",
        "There is the ball is on the box.",
        "",
    ],
)
def test_what_is_no_acceptable_rewrite(text):
    assert not acceptable(text, row())
    assert choose(row(), [text]) == (ALIKE, "no_valid_rewrite")


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


SETTINGS = Settings(
    prompt="sentence", candidates=3, temperature=1.0, top_p=0.95, max_new_tokens=8, batch_size=2, seed=1
)


@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_resumed_refinement_gives_the_rows_of_one_go(tiny, prompt):
    settings = SETTINGS.model_copy(update={"prompt": prompt})
    rows = [row(identity=f"{i}#0") for i in range(5)]
    whole = [done for batch in refine(rows, *tiny, settings, set()) for done in batch]
    assert [done["id"] for done in whole] == [r["id"] for r in rows]
    assert sum(tally(whole).values()) == 5
    rest = [done for batch in refine(rows, *tiny, settings, {"0#0", "1#0", "2#0"}) for done in batch]
    assert rest == whole[3:]
    torch.manual_seed(99)
    assert [done for batch in refine(rows, *tiny, settings, set()) for done in batch] == whole


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
        answer = [tokenizer.decode(tail, skip_special_tokens=True).strip()] if 1 in tail else []
        assert answers == answer * candidates


def test_prompts_show_the_prediction_and_never_the_annotation():
    text = str(conversations(row(subject="{object}", label="on"), "set"))
    assert "the {object} is on the box" in text
    assert "behind" not in text
    assert ALIKE[1] in text
    assert len(conversations(row([ALIKE[0], ALIKE[0], ""]), "sentence")) == 1


def test_lines_of_an_answer():
    assert lines("1. A ball.\n\n- 2 balls  on a box.\nThe end.", "set") == ["A ball.", "2 balls on a box.", "The end."]
    assert lines("A ball.\nSentence: more", "sentence") == ["A ball."]


def test_rows_without_a_label_are_refused(tiny):
    bare = row()
    del bare["label"]
    with pytest.raises(VsdError, match=r"7#0.*lacks label"):
        next(refine([bare], *tiny, SETTINGS, set()))
    with pytest.raises(VsdError, match="task 2"):
        next(refine([row(task=2)], *tiny, SETTINGS, set()))
