"""Work in batches that is killed: whatever a kill leaves, the rows and the bytes are those of an unkilled run."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsd_utils.common.errors import VsdError
from vsd_utils.common.resume import Row, append_jsonl, batches_of, fingerprint, finish_batches

ROWS: list[Row] = [{"id": f"{number}", "text": text} for number, text in enumerate(["a", "ä\u2028b", "", "\n", "日本"])]


def describe(batch: Sequence[Row]) -> list[Row]:
    """What a model would do: each row depends on all of its batch."""
    return [row | {"answer": "".join(other["text"] for other in batch)} for row in batch]


def describe_all(left: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
    return map(describe, left)


@given(st.integers(1, 6), st.lists(st.integers(0, 400), max_size=4))
def test_however_often_it_is_killed_the_bytes_are_those_of_one_go(size, kills) -> None:
    batches = list(batches_of(ROWS, size))
    assert [row for batch in batches for row in batch] == ROWS
    expected = {row["id"]: row for batch in batches for row in describe(batch)}
    with tempfile.TemporaryDirectory() as folder:
        whole, killed = Path(folder, "whole.jsonl"), Path(folder, "killed.jsonl")
        assert finish_batches(batches, describe_all, whole) == expected
        for place in kills:  # at any byte, in the middle of a character too
            finish_batches(batches, describe_all, killed)
            killed.write_bytes(killed.read_bytes()[:place])
        assert finish_batches(batches, describe_all, killed) == expected
        assert killed.read_bytes() == whole.read_bytes()


def test_what_is_finished_is_not_done_again_and_a_part_of_a_batch_is(tmp_path) -> None:
    asked: list[Sequence[Row]] = []

    def describe_some(left: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
        for batch in left:
            asked.append(batch)
            yield describe(batch)

    batches = list(batches_of(ROWS, 2))
    finished = tmp_path / "answers.jsonl"
    append_jsonl(finished, [row for batch in batches[:1] for row in describe(batch)] + describe(batches[1])[:1])
    finish_batches(batches, describe_some, finished)
    assert asked == batches[1:]
    asked.clear()
    finish_batches(batches, describe_some, finished)
    assert asked == []


def test_a_line_that_no_kill_leaves_is_reported(tmp_path) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_text('{"id": "0"}\nnot JSON\n')
    with pytest.raises(VsdError, match=r"answers\.jsonl, line 2: not JSON"):
        finish_batches([ROWS], describe_all, path)


def test_a_fingerprint_follows_parameters_and_content(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    first = fingerprint({"seed": 0, "size": (1, 2)}, tmp_path / "data")
    assert fingerprint({"size": [1, 2], "seed": 0}, tmp_path / "data") == first
    assert fingerprint({"size": [1, 2], "seed": 1}, tmp_path / "data") != first
    (tmp_path / "data" / "a.txt").write_text("b")
    assert fingerprint({"seed": 0, "size": (1, 2)}, tmp_path / "data") != first
