"""What a report names changes with the code and the parameters of the run, and with nothing else."""

import shutil

import pytest

from vsd_utils.commands.provenance import collect
from vsd_utils.common.params import Params
from vsd_utils.common.paths import NOTEBOOKS, ROOT
from vsd_utils.common.profiles import compose

MINI = Params.model_validate(compose(["profile=mini"]))


@pytest.fixture
def checkout(tmp_path):
    for name in ("vsd_utils", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(NOTEBOOKS, tmp_path / "data/notebooks")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("vsd_utils/report/figures.py", True),
        ("vsd_utils/metrics/java/spice.js", True),
        ("vsd_utils/report/published.yaml", True),
        ("vsd_utils/common/errors.py", True),
        ("vsd_utils/commands/score.py", False),  # no stage runs it
        ("vsd_utils/__pycache__/cached.pyc", False),
        ("tests/conftest.py", False),
        ("README.md", False),
    ],
)
def test_the_code_is_what_the_stages_run(checkout, file, counts) -> None:
    before = collect(MINI, checkout)
    path = checkout / file
    path.parent.mkdir(exist_ok=True)
    content = path.read_bytes() if path.exists() else b""
    path.write_bytes(content + b"\n# a remark\n")
    changed = collect(MINI, checkout)
    assert (changed["code"] != before["code"]) is counts
    assert changed["parameters"] == before["parameters"]
    path.write_bytes(content)
    assert collect(MINI, checkout) == before


def test_every_parameter_counts_and_every_override_is_named(checkout) -> None:
    before = collect(MINI, checkout)
    assert (before["profile"], before["overrides"]) == ("mini", [])
    # It changes no file on the way, so no stage downstream would notice it.
    other = Params.model_validate(compose(["profile=mini", "evaluate.examples=3"]))
    after = collect(other, checkout)
    assert (after["code"], after["overrides"]) == (before["code"], ["evaluate.examples=3"])
    assert after["parameters"] != before["parameters"]
