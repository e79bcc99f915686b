"""Folders as a user writes them, parameters as they were called before: it works, or the message says what to type."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from vsd_utils.common import paths
from vsd_utils.common.errors import VsdError
from vsd_utils.common.params import load
from vsd_utils.common.paths import user_path
from vsd_utils.common.profiles import compose, overrides
from vsd_utils.common.sections import Params
from vsd_utils.data import dataset_info
from vsd_utils.models.checkpoint import Pointer, location, write_pointer

FOLDERS = [
    *("~/vsd", "../shared/vsd", "/data/VSD (1)", "/data/ä/日本", "/data/a=b", "/data/a,b", "/data/[x]", "/data/{x}"),
    *("/it's", '/a "b" c', "/a:b", "/#1", "/100%", "C:\\Users\\me", "/end\\", "/$HOME", "true", "12"),
]


@pytest.mark.parametrize("folder", FOLDERS)
def test_any_folder_goes_through_unchanged(folder, tmp_path) -> None:
    if folder not in ("true", "12"):  # which are no text, in any YAML; quoted, they are
        assert compose(["profile=boxes", f"fetch.annotations={folder}"])["fetch"]["annotations"] == folder
    content = compose(["profile=boxes"])
    content["fetch"]["annotations"] = folder
    YAML(typ="safe", pure=True).dump(content, tmp_path / "params.yaml")
    given = load(tmp_path / "params.yaml")
    assert given.fetch.annotations == folder
    assert Params.model_validate(compose(["profile=boxes", *overrides(given)])) == given


def test_the_home_folder_and_the_checkout(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/vsd") == tmp_path / "vsd"
    assert user_path("/vsd") == Path("/vsd")
    assert user_path("../vsd") == paths.ROOT / "../vsd"
    with pytest.raises(VsdError, match=r"~nobody-of-that-name/vsd: .*Write the whole path"):
        user_path("~nobody-of-that-name/vsd")
    # A temporary copy of a checkout, as `dvc exp run --temp` makes it, looks where the checkout itself does.
    monkeypatch.setattr(paths, "ROOT", tmp_path / "project/.dvc/tmp/exps/tmp1234")
    assert user_path("../vsd") == tmp_path / "project/../vsd"


def test_drawn_scenes_are_a_copys_own_and_photos_the_users(tmp_path, monkeypatch) -> None:
    copy = tmp_path / "project/.dvc/tmp/exps/tmp1234"
    monkeypatch.setattr(paths, "ROOT", copy)
    monkeypatch.setattr(dataset_info, "ROOT", copy)
    # Of another seed, say: the checkout's own pictures would be silently wrong.
    assert dataset_info.photo_folder({"source": "scenes", "photos": "data/images"}) == copy / "data/images"
    photos = dataset_info.photo_folder({"source": "folder", "photos": "sources/photos"})
    assert photos == tmp_path / "project/sources/photos"
    assert dataset_info.photo_folder({"source": "folder", "photos": None}) is None


def test_a_models_folder_is_found_from_wherever_its_pointer_lies(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my model").mkdir()
    write_pointer(tmp_path / "at", Pointer(name_or_path="~/my model", revision=None, source="folder", sha256={}))
    assert location(tmp_path / "at") == (str(tmp_path / "my model"), None)


def test_a_renamed_parameter_says_its_new_name(tmp_path) -> None:
    said = "parameter convert.skip_invalid is now fetch.skip_invalid"
    content = compose(["profile=mini"])
    del content["fetch"]["skip_invalid"]
    content["convert"]["skip_invalid"] = True
    path = tmp_path / "params.yaml"
    YAML(typ="safe", pure=True).dump(content, path)
    with pytest.raises(VsdError) as caught:
        load(path)
    assert {*str(caught.value).splitlines()} == {f"{path}: {said}", f"{path}: parameter fetch.skip_invalid is missing"}
    for override in ("convert.skip_invalid=true", "+convert.skip_invalid=true", "~convert.skip_invalid"):
        with pytest.raises(VsdError, match=f"^{said}$"):
            compose([override])

    with pytest.raises(VsdError, match=r"^profile sample is now mini$"):
        compose(["profile=sample"])
    YAML(typ="safe", pure=True).dump(compose(["profile=mini"]) | {"profile": "sample"}, path)
    with pytest.raises(VsdError, match=r"params.yaml: profile sample is now mini$"):
        load(path)


def test_the_command_takes_paths_as_they_are(tmp_path) -> None:
    for name in ("vsd_utils", "conf"):
        shutil.copytree(paths.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "vsd_utils", "profile", "boxes", "fetch.photos=/data/VSD (1)=ä"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert load(tmp_path / "params.yaml").fetch.photos == "/data/VSD (1)=ä"
