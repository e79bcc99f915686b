"""The client for servers, against a real one: ``transformers serve`` with a tiny LLaVA-NeXT and a tiny chat model."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from servers import Gate, transformers_serve
from tiny_model import SIZE, write_base, write_samples
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, Qwen2Config, Qwen2ForCausalLM

from vsd_utils.common import environment
from vsd_utils.common.errors import VsdError
from vsd_utils.common.params import load
from vsd_utils.common.paths import ROOT
from vsd_utils.common.profiles import compose, overrides
from vsd_utils.common.resume import Row
from vsd_utils.common.sections import Params
from vsd_utils.data.prompts import TASKS, question
from vsd_utils.miniature.model import architecture
from vsd_utils.models import answering, endpoint, served_answers, vision_language
from vsd_utils.models.endpoint import Server, Size, what_counts
from vsd_utils.refine import local_model, served_model
from vsd_utils.refine.prompts import conversations

KEY = "sk-0123456789abcdef"
SETTINGS = answering.Settings(batch_size=2, max_new_tokens=(4, 6, 8), system_prompt="vicuna", task1="generate")
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("served")
    write_base(root / "base")
    write_samples(root, 6)
    tokenizer = architecture.make_tokenizer([question(task, "red ball", "box") for task in TASKS] * 3, SIZE.tokens)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(root / "chat")
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=1, **size))
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=0)
    model.save_pretrained(root / "chat")
    return root


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with transformers_serve(folder / "log.txt") as url:
        yield url


@pytest.fixture
def gate(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setenv("TEST_API_KEY", KEY)
    gate = Gate(address)
    yield gate
    gate.close()


def settings(url: str, model: Path, **more: Any) -> dict[str, Any]:
    usual = {"api_key_variable": "TEST_API_KEY", "requests_at_once": 2, "requests_per_minute": None}
    prices = {"dollars_per_million_input_tokens": 2.0, "dollars_per_million_output_tokens": 8.0}
    return {"base_url": url, "model": str(model), "request_fields": {}} | usual | prices | more


def asked(folder: Path) -> list[Row]:
    return answering.questions(write_samples(folder, 6))


@pytest.fixture(scope="module")
def ours(folder: Path) -> list[Row]:
    """What the same model answers when it is loaded here."""
    processor = vision_language.load_processor(folder / "base")
    model = vision_language.load_model("float32", base=folder / "base").eval()
    return answering.answer(model, processor, asked(folder), folder, folder / "ours.jsonl", SETTINGS)


def test_a_server_of_our_model_gives_our_answers(folder, gate, ours, tmp_path) -> None:
    assert len({row["raw"] for row in ours}) > 12  # they depend on the picture
    # The first two requests meet a server that is busy.
    gate.refuse = lambda number: 429 if number < 2 else None
    server = Server(settings(gate.url, folder / "base"))
    rows = served_answers.answer(server, asked(folder), folder, tmp_path / "served.jsonl", SETTINGS)
    by = {"base_url": gate.url, "model": str(folder / "base")}
    assert [row["served_by"] for row in rows] == [by] * len(rows)
    same = ("id", "img_id", "task", "subject", "object", "relation", "prompt", "raw")
    assert [[row[name] for name in same] for row in rows] == [[row[name] for name in same] for row in ours]
    assert len(gate.bodies) == len(rows) + 2
    assert {*gate.keys} == {f"Bearer {KEY}"}
    assert KEY not in (tmp_path / "served.jsonl").read_text()


def test_what_was_answered_is_kept_when_a_server_fails_and_not_asked_again(folder, gate, ours, tmp_path) -> None:
    unfinished = tmp_path / "served.jsonl"
    gate.refuse = lambda number: 503 if number >= 7 else None
    server = Server(settings(gate.url, folder / "base"))
    with pytest.raises(VsdError, match=r"(?s)status 503, .*Look at its log.*All answers so far are kept") as failed:
        served_answers.answer(server, asked(folder), folder, unfinished, SETTINGS)
    assert KEY not in str(failed.value)
    assert "no: Bearer ***" in str(failed.value)  # the server repeated it
    kept = [json.loads(line) for line in unfinished.read_text().splitlines()]
    assert len(kept) == 7
    gate.bodies.clear()
    gate.refuse = lambda number: None
    rows = served_answers.answer(server, asked(folder), folder, unfinished, SETTINGS)
    assert len(gate.bodies) == len(rows) - 7
    assert [row["raw"] for row in rows] == [row["raw"] for row in ours]


CHILD = """
import json, sys
from pathlib import Path
from vsd_utils.models import answering, endpoint, served_answers
given = json.loads(sys.argv[1])
asked, settings = given["asked"], answering.Settings(**given["settings"])
folder, unfinished = Path(given["folder"]), Path(given["unfinished"])
served_answers.answer(endpoint.Server(given["endpoint"]), asked, folder, unfinished, settings)
"""


def test_a_killed_run_ends_with_the_rows_of_an_unkilled_one(folder, gate, ours, tmp_path) -> None:
    unfinished = tmp_path / "served.jsonl"
    given = {"asked": asked(folder), "settings": SETTINGS.model_dump(), "folder": str(folder)}
    given |= {"endpoint": settings(gate.url, folder / "base"), "unfinished": str(unfinished)}
    child = subprocess.Popen([sys.executable, "-c", CHILD, json.dumps(given)])
    while len(gate.bodies) < 6:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    kept = unfinished.read_text().count("\n")
    assert 6 - 2 <= kept < len(ours)  # all but what was under way
    gate.bodies.clear()
    rows = served_answers.answer(
        Server(settings(gate.url, folder / "base")), asked(folder), folder, unfinished, SETTINGS
    )
    assert len(gate.bodies) == len(ours) - kept
    assert [row["raw"] for row in rows] == [row["raw"] for row in ours]


def test_a_server_rewrites_with_the_prompts_and_seeds_that_are_ours(folder, gate, tmp_path) -> None:
    first = {"id": "1#0", "task": 3, "subject": "cup", "object": "box", "label": "on"}
    sentences = ["the cup is on the box.", "there is a cup on the box.", "the cup is on the box."]
    rows = [first | {"sentences": sentences}, first | {"id": "2#0", "sentences": sentences}]
    rows += [first | {"id": "3#0", "sentences": ["a.", "b.", "c."]}]  # nothing to preserve, so nothing is asked
    sampled = {"candidates": 2, "temperature": 0.7, "top_p": 0.9, "max_new_tokens": 12}
    chosen = local_model.Settings(prompt="sentence", batch_size=2, ask_hopeless=False, seed=3, **sampled)
    server = Server(settings(gate.url, folder / "chat", requests_at_once=1))  # one stream of random numbers
    # It fails after two of the four answers, and the next run asks for the other two.
    gate.refuse = lambda number: 400 if number >= 2 else None
    with pytest.raises(VsdError, match=r"status 400, .*endpoint\.request_fields"):
        served_model.refine(rows, {"1#0", "3#0"}, server, chosen, tmp_path / "served.jsonl")
    del gate.bodies[2:]
    gate.refuse = lambda number: None
    refined = served_model.refine(rows, {"1#0", "3#0"}, server, chosen, tmp_path / "served.jsonl")
    assert ["served_by" in row for row in refined] == [True, False, False]
    assert [row["reason"] for row in refined[1:]] == ["not_selected", "unclear_original"]
    assert refined[0]["readable_answers"] + sum(refined[0]["unreadable_answers"].values()) == 4
    assert len(gate.bodies) == 4 == len(served_model.sizes(rows, {"1#0", "3#0"}, chosen))
    # The same requests, answered by the library alone.
    tokenizer = AutoTokenizer.from_pretrained(folder / "chat")
    model = AutoModelForCausalLM.from_pretrained(folder / "chat").eval()
    chats = [chat for chat in conversations(rows[0], "sentence") for _ in range(2)]
    expected = []
    for chat, body in zip(chats, gate.bodies, strict=True):
        assert body["messages"] == chat
        ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        torch.manual_seed(body["seed"])
        output = model.generate(**ids, do_sample=True, temperature=0.7, top_p=0.9, max_new_tokens=12)
        new = output[0, ids["input_ids"].shape[1] :]
        whole = len(new) < 12
        expected.append(tokenizer.decode(new, skip_special_tokens=True).strip() if whole else None)
    kept = [json.loads(line)["text"] for line in (tmp_path / "served.jsonl").read_text().splitlines()]
    assert kept == expected
    assert len({body["seed"] for body in gate.bodies}) == 4


def test_a_server_that_is_not_there_or_not_one_is_named_with_what_to_do(folder, gate, monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "RETRIES", 0)
    request = endpoint.Request([{"role": "user", "content": "?"}], {"max_tokens": 4})
    gate.close()
    with pytest.raises(VsdError, match=r"http://127\.0\.0\.1:\d+/v1, model .*cannot be reached .*Is it running"):
        Server(settings(gate.url, folder / "base")).ask(request)


def test_a_field_of_the_request_can_be_added_and_taken_out(folder, gate) -> None:
    fields = {"max_tokens": None, "max_completion_tokens": 5, "chat_template_kwargs": {"a": 1}}
    server = Server(settings(gate.url, folder / "chat", request_fields=fields))
    server.ask(endpoint.Request([{"role": "user", "content": "?"}], {"max_tokens": 4, "temperature": 1.0}))
    sent = gate.bodies[0]
    assert {name: sent[name] for name in sent if name not in ("messages", "model")} == {
        "max_completion_tokens": 5,
        "chat_template_kwargs": {"a": 1},
        "temperature": 1.0,
    }


def test_requests_keep_the_pace_that_a_vendor_allows(folder, gate) -> None:
    gate.refuse = lambda number: 400  # at once, so that nothing but the pace takes time
    server = Server(settings(gate.url, folder / "chat", requests_per_minute=300.0))
    for _ in range(4):
        with pytest.raises(VsdError):
            server.ask(endpoint.Request([{"role": "user", "content": "?"}], {}))
    assert gate.times[-1] - gate.times[0] > 3 * 0.2 * 0.9


def test_the_estimate_is_arithmetic_and_says_so() -> None:
    server = Server(settings("http://localhost:1/v1", Path("m"), api_key_variable=None))
    said = server.estimate([Size(4_000, 750_000, 500), Size(4_000, 0, 500)])
    # 2 x 4000/4 + 750000/750 = 3000 tokens in at 2 dollars a million, 1000 out at 8.
    assert "2 requests; estimate, not measured: 3,000 tokens in" in said
    assert "at most 1,000 out, at most about 0.01 dollars" in said
    free = Server(
        settings("http://localhost:1/v1", Path("m"), api_key_variable=None) | {"dollars_per_million_input_tokens": None}
    )
    assert "dollars unknown" in free.estimate([Size(4, 0, 1)])


def test_marks_round_an_answer_are_taken_off() -> None:
    assert served_answers.read("**To the left of.**", 1) == ["to the left of"]
    assert served_answers.read("It is on the box", 1) == ["It is on the box"]
    assert served_answers.read('1. "The cup is on it."\n2) *A cup*\n\n- On it, a cup', 3) == [
        "The cup is on it.",
        "A cup",
        "On it, a cup",
    ]


def test_the_pace_and_the_price_are_nothing_that_an_answer_depends_on(folder) -> None:
    slow = settings("http://a/v1", folder, requests_per_minute=1.0, requests_at_once=9, api_key_variable=None)
    assert what_counts({"limit": 1, "endpoint": slow}) == what_counts(
        {"limit": 1, "endpoint": settings("http://a/v1", folder)}
    )
    other = settings("http://a/v1", folder, request_fields={"temperature": 1})
    assert what_counts({"limit": 1, "endpoint": slow}) != what_counts({"limit": 1, "endpoint": other})


@pytest.mark.parametrize(
    "form", ["endpoint:\n    api_key_variable: MY_KEY\n", "endpoint: {api_key_variable: 'MY_KEY'}"]
)
def test_a_stage_is_told_the_key_that_the_parameters_name_and_no_other(form, tmp_path, monkeypatch) -> None:
    (tmp_path / "params.yaml").write_text(f"describe:\n  {form}")
    monkeypatch.setattr(environment, "key_variables", lambda: key_variables(tmp_path / "params.yaml"))
    passed = environment.settled({"MY_KEY": KEY, "OTHER_KEY": KEY, "LC_ALL": "de"})
    assert passed["MY_KEY"] == KEY
    assert "OTHER_KEY" not in passed
    assert passed["LC_ALL"] == "C.UTF-8"


key_variables = environment.key_variables


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"api_key_variable": KEY}, "must be the name of an environment variable"),
        ({"base_url": f"https://user:{KEY}@host/v1"}, "must be an address without user, password"),
        ({"base_url": f"https://host/v1?key={KEY}"}, "must be an address without user, password"),
        ({"api_key": KEY}, "is not known"),
    ],
)
def test_a_key_in_the_parameters_is_refused_and_not_repeated(change, said, tmp_path) -> None:
    written = (ROOT / "params.yaml").read_text()
    block = json.dumps(settings("http://a/v1", Path("m")) | change)
    path = tmp_path / "params.yaml"
    path.write_text(written.replace("  endpoint: null\n", f"  endpoint: {block}\n", 1))
    with pytest.raises(VsdError, match=said) as refused:
        load(path)
    assert KEY not in str(refused.value)


def test_a_server_can_be_said_as_an_override_and_is_told_as_one() -> None:
    server = settings("http://localhost:1/v1", Path("a/b"), request_fields={"max_tokens": None, "stop": ["a b"]})
    content = compose(["profile=smoke"])
    content["describe"]["endpoint"] = server
    [told] = overrides(Params.model_validate(content))
    assert told.startswith('describe.endpoint={base_url:"http://localhost:1/v1",model:a/b,')
    assert compose(["profile=smoke", told])["describe"]["endpoint"] == server


def test_a_key_that_is_not_set_is_asked_for_by_name(monkeypatch) -> None:
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    with pytest.raises(VsdError, match=r"environment variable TEST_API_KEY, .* export TEST_API_KEY="):
        Server(settings("http://a/v1", Path("m")))
