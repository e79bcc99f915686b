"""Rows for which no rewrite could be accepted: not asked about, or asked about on demand and left as they are."""

import pytest
from test_selection import SETTINGS, row, tiny  # noqa: F401  (the last one is a fixture)

from vsd_utils.common.resume import merge_parts, part
from vsd_utils.models.checkpoint import Pointer, write_pointer
from vsd_utils.models.endpoint import Answer, Server
from vsd_utils.refine import served_model
from vsd_utils.refine.rewriting import refine, rewrite
from vsd_utils.refine.rewriting_shares import refine_share

DIVERSE = ["ball on box.", "Under a ball there is the box.", "A big box has one ball on it."]
ROWS = [
    row(identity="1#0", label="behind"),
    row(identity="2#0"),
    row(DIVERSE, identity="3#0"),
    row(["noise.", "noise.", "noise."], identity="4#0", label="no idea"),
    row(["", "", ""], identity="5#0"),
]
REASONS = {"1#0": "unclear_original", "3#0": "already_diverse", "4#0": "unclear_original", "5#0": "unclear_original"}
CHATS = {"sentence": {"1#0": 3, "3#0": 3, "4#0": 1, "5#0": 0}, "set": dict.fromkeys(REASONS, 1)}
ENDPOINT = {"base_url": "http://nobody/v1", "model": "m", "api_key_variable": None, "request_fields": {}} | {
    "requests_at_once": 1,
    "requests_per_minute": None,
    "dollars_per_million_input_tokens": None,
    "dollars_per_million_output_tokens": None,
}


def answers(done):
    return done["readable_answers"] + sum(done["unreadable_answers"].values())


def check_asked(rows, chats, candidates):
    """Every answer to a hopeless row is read and judged, and the row is what it would be unasked."""
    for done in rows:
        if done["id"] in REASONS:
            assert (done["reason"], done["accepted"]) == (REASONS[done["id"]], False)
            assert done["sentences"] == done["original"]
            assert answers(done) == chats[done["id"]] * candidates
            judged = done["acceptable_rewrites"] + sum(done["rejected_rewrites"].values())
            assert judged >= done["readable_answers"]


@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_hopeless_rows_are_asked_about_on_demand_and_nothing_comes_of_it(tiny, prompt):  # noqa: F811
    settings = SETTINGS.model_copy(update={"prompt": prompt, "ask_hopeless": True})
    done = rewrite(ROWS, *tiny, settings)
    check_asked(done, CHATS[prompt], settings.candidates)
    assert sum(one["readable_answers"] for one in done if one["id"] in REASONS) > 0


@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_hopeless_rows_otherwise_take_nothing_from_the_random_stream(tiny, prompt):  # noqa: F811
    settings = SETTINGS.model_copy(update={"prompt": prompt})
    done = rewrite(ROWS, *tiny, settings)
    assert [answers(one) for one in done if one["id"] in REASONS] == [0, 0, 0, 0]
    # The open row alone, under the id that the batch's stream depends on.
    [alone] = rewrite([row(identity="1#0")], *tiny, settings)
    assert done[1] == alone | {"id": "2#0", "img_id": "2"}


def test_several_processes_ask_about_them_too(tiny, tmp_path, monkeypatch):  # noqa: F811
    settings = SETTINGS.model_copy(update={"ask_hopeless": True})
    for model_or_tokenizer in tiny:
        model_or_tokenizer.save_pretrained(tmp_path)
    write_pointer(tmp_path, Pointer(name_or_path=".", revision=None, source="random", sha256={}))
    chosen, shared = {one["id"] for one in ROWS}, tmp_path / "shared.jsonl"
    job = {"settings": settings.model_dump(), "rows": ROWS, "unfinished": str(shared), "refiner": str(tmp_path)}
    job["parameters"] = {
        "threads": 1,
        "float32_matmul_precision": None,
        "dtype": "float32",
        "quantization": "none",
    }
    monkeypatch.setenv("WORLD_SIZE", "2")
    for number in "01":
        monkeypatch.setenv("RANK", number)
        refine_share(job)
        assert part(shared, int(number)).is_file()
    merge_parts(shared, 2, ROWS, lambda one: one["id"])
    together = refine(ROWS, chosen, None, None, settings, shared)
    assert together == refine(ROWS, chosen, *tiny, settings, tmp_path / "alone.jsonl")
    check_asked(together, CHATS["sentence"], settings.candidates)


@pytest.mark.parametrize("prompt", ["sentence", "set"])
def test_a_server_is_asked_about_them_too(prompt, tmp_path, monkeypatch):
    monkeypatch.setattr(Server, "ask", lambda server, request: Answer("On the box sits a ball.", whole=True))
    server, chosen = Server(ENDPOINT), {one["id"] for one in ROWS} - {"3#0"}
    for ask in (False, True):
        settings = SETTINGS.model_copy(update={"prompt": prompt, "ask_hopeless": ask})
        done = served_model.refine(ROWS, chosen, server, settings, tmp_path / f"{ask}.jsonl")
        assert len(served_model.sizes(ROWS, chosen, settings)) == sum(map(answers, done))
        expected = CHATS[prompt] if ask else dict.fromkeys(REASONS, 0)
        check_asked([one for one in done if one["id"] != "3#0"], expected, settings.candidates)
        assert {one["id"] for one in done if "served_by" in one} == {"2#0"} | {
            name for name in chosen & REASONS.keys() if expected[name]
        }
        # What was not drawn is not asked about in either case.
        assert done[2]["reason"] == "not_selected"
        assert answers(done[2]) == 0
    # "On" is not the "behind" that was predicted.
    assert done[0]["rejected_rewrites"] == {"relation_not_stated": answers(done[0])}
