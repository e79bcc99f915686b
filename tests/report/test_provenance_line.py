"""The line below every table says which answers came from a server."""

from vsd_utils.common.files import write_jsonl
from vsd_utils.report.provenance import sentence, server_of

BY = {"base_url": "http://localhost:8000/v1", "model": "gpt"}
RECORD = {
    "profile": "mini",
    "overrides": [],
    "data": "scenes",
    "left_out": 0,
    "packing": "shared_image",
    "seed": 0,
    "code": "c",
    "parameters": "p",
}


def test_a_server_is_named_where_rows_came_from_one_and_nowhere_else(tmp_path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", [{"id": "1"}, {"id": "2", "served_by": BY}])
    write_jsonl(tmp_path / "ours.jsonl", [{"id": "1"}])
    served = server_of(tmp_path / "rows.jsonl")
    assert served == "gpt, answers of the server http://localhost:8000/v1, which need not come out the same again"
    assert server_of(tmp_path / "ours.jsonl") is None
    assert server_of(tmp_path / "none.jsonl") is None
    models = {"base": "b", "refiner": "r"}
    without = sentence(RECORD | {"models": models}, 3)
    assert "Base model: b; refiner: r. Trained on each picture once for all its conversations. Seed" in without
    named = sentence(RECORD | {"models": models | {"served": served}}, 3)
    assert f"refiner: r; served model: {served}. Trained" in named
