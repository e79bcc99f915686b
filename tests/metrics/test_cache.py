"""A cache saves time and decides nothing: whatever happens to its file, no value is wrong and nothing fails."""

import resource
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsd_utils.metrics.java import cache
from vsd_utils.metrics.java.cache import Store, cache_folder

VALUES = {f"text {number}": f"value {number} " * 20 for number in range(100)}
MORE = {"another": "one", "\ud800": "half a pair"}


@pytest.fixture(autouse=True)
def _said(monkeypatch) -> None:
    """What is said once in a process is said once in each test."""
    monkeypatch.setattr(cache, "_SAID", set())


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "known.sqlite"
    Store(path, "texts").put(VALUES)
    assert Store(path, "texts").get([*VALUES, *MORE]) == VALUES
    return path


def other_table(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE texts (key BLOB PRIMARY KEY, value TEXT)")


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage " * 1000),
    "cut at a page": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 4096 * 4096]),
    "cut in a page": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "zeros": lambda path: path.write_bytes(path.read_bytes()[:4096] + bytes(path.stat().st_size - 4096)),
    "a folder": folder_instead,
    "another table": other_table,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_made_anew(damage, whole, tmp_path, capfd) -> None:
    path = Path(shutil.copy(whole, tmp_path))
    path.with_name("known.sqlite-journal").write_bytes(b"of a killed run")
    DAMAGES[damage](path)
    first = Store(path, "texts")
    assert first.get(VALUES).items() <= VALUES.items()
    first.put(VALUES | MORE)
    assert Store(path, "texts").get([*VALUES, *MORE]) == VALUES | MORE
    said = capfd.readouterr().err
    assert said.count("\n") == (damage != "empty")
    assert said.startswith(f"{path}: this cache file is damaged (") or damage == "empty"


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_damage_makes_a_value_wrong(whole, data) -> None:
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(content) - 1))
        new = data.draw(st.binary(min_size=1, max_size=8))
        content[start : start + len(new)] = new
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "known.sqlite")
        path.write_bytes(content)
        for _ in range(2):
            damaged = Store(path, "texts")
            assert damaged.get([*VALUES, *MORE]).items() <= (VALUES | MORE).items()
            damaged.put(VALUES | MORE)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, capfd) -> None:
    (tmp_path / "file").write_text("")
    for name in ("one", "two"):
        unwritable = Store(tmp_path / "file" / "folder" / f"{name}.sqlite", "texts")
        unwritable.put(VALUES)
        assert unwritable.get(VALUES) == {}
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "cannot be used as a cache" in said


def test_a_full_disk_loses_the_new_values_alone(tmp_path, capfd) -> None:
    path = tmp_path / "known.sqlite"
    Store(path, "texts").put(MORE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # what is longer cannot be written
    try:
        Store(path, "texts").put(VALUES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert capfd.readouterr().err.startswith(f"{path}: cannot be used as a cache (")
    assert Store(path, "texts").get([*VALUES, *MORE]) == MORE


def test_no_home_is_a_cache_for_this_run(monkeypatch, capfd) -> None:
    monkeypatch.setenv("VSD_CACHE", "~no such user/cache")
    folder = cache_folder()
    assert folder == cache_folder()
    assert folder.is_dir()
    assert capfd.readouterr().err.count("\n") == 1
