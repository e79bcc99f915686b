"""The digests that a report names depend on the code and the parameters, and on nothing else."""

from pathlib import Path

from vsd_utils.commands.provenance import code_digest, parameters_digest
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params


def checkout(root: Path) -> Path:
    for name in ("code/a.py", "code/inner/b.js", "apart/c.py", "one.py", "other.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def test_code_counts_by_name_and_content_wherever_the_checkout_lies(tmp_path) -> None:
    one, two = checkout(tmp_path / "one"), checkout(tmp_path / ".hidden/two")

    def digest(root: Path) -> str:
        return code_digest([root / "one.py", root / "code"], root)

    before = digest(one)
    assert len(before) == 10
    assert digest(two) == before == code_digest([two / "code", two / "one.py", two / "code/a.py"], two)
    # What no stage uses, and what Python, a desktop or an editor leaves.
    for name in ("other.py", "apart/c.py", "code/__pycache__/a.cpython-311.pyc", "code/.DS_Store", "code/.a.py.swp"):
        (two / name).parent.mkdir(exist_ok=True)
        (two / name).write_text("changed")
    assert digest(two) == before
    (two / "code/inner/b.js").write_text("changed")
    changed = digest(two)
    (one / "code/a.py").rename(one / "code/z.py")
    assert len({before, changed, digest(one)}) == 3


def test_every_parameter_counts_and_their_order_does_not() -> None:
    content = compose(["profile=smoke"])
    before = parameters_digest(Params.model_validate(content))
    assert parameters_digest(Params.model_validate(dict(reversed(content.items())))) == before
    for override in ("seed=1", "base.billions=2", "evaluate.examples=3"):
        assert parameters_digest(Params.model_validate(compose(["profile=smoke", override]))) != before
