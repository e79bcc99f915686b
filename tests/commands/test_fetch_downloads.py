"""What is missing is fetched, from a host that does everything a host can do wrong; nothing half, nothing silently."""

import io
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from unreliable_host import FLICKR, NYU, Host, World, picture, zipped

from vsd_utils.commands import preflight
from vsd_utils.commands.fetch import download
from vsd_utils.common.errors import VsdError
from vsd_utils.common.paths import ROOT
from vsd_utils.data.admission import survey
from vsd_utils.data.photos import index_photos, photo_of
from vsd_utils.data.splits import makes_own_split


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Host() as host:
        yield World(host, tmp_path / "user (1)")


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fetched(world: World) -> dict[str, bytes]:
    """The photos that are there by id, each whole; and nothing else is, but the lists beside them."""
    photos = index_photos(world.folder / "photos")
    beside = {"visual_genome/image_data.json", "spatialsense/contents.json"}
    found = {img_id: photo_of(img_id, photos).read_bytes() for img_id in world.photos if img_id in photos.paths}
    assert len(tree(world.folder / "photos").keys() - beside) == len(found)
    return found


def test_everything_is_fetched_once_and_then_nobody_is_asked(world) -> None:
    params = world.params()
    assert [line for line in preflight.problems(params) if "GPU" not in line] == []
    download(params.fetch, params.seed)
    assert fetched(world) == world.photos
    assert len(tree(world.folder / "vsd")) == 6
    assert survey(params.fetch, params.seed, every_pixel=True)[1] == []
    # Photos one by one, each from the folder that the list names, and no archive of them.
    asked = [path for path in world.host.asked if path.startswith("/rak248/")]
    assert sorted(asked) == sorted(f"/rak248/{place}" for place in world.place.values())
    world.host.asked.clear()
    download(params.fetch, params.seed)
    assert world.host.asked == []


def test_a_share_fetches_the_photos_of_its_images_alone(world) -> None:
    params = world.params("fetch.images={train: 2, val: 1, test: 9}")
    download(params.fetch, params.seed)
    assert len(fetched(world)) == 2 + 1 + 4
    admission, lines = survey(params.fetch, params.seed, every_pixel=True)
    assert ({split: len(images) for split, images in admission.usable.items()}, lines) == (
        {"train": 2, "val": 1, "test": 4},
        [],
    )


def test_all_that_a_host_does_wrong(world, capfd) -> None:
    place = {img_id: f"/rak248/{path}" for img_id, path in world.place.items()}
    mended = ("429", "503", "cut", "page", "reset", "short")
    ids = [img_id for img_id in world.photos if img_id.isdecimal()]
    for img_id, fault in zip(ids, mended, strict=False):
        world.host.faults[place[img_id]] = [fault]
    gone = dict(zip(("404", "page!", "short!", "small", "empty"), ids[6:], strict=False))
    for fault in ("404", "page!", "short!"):
        world.host.faults[place[gone[fault]]] = [fault.rstrip("!") + "!"]
    world.host.files[place[gone["small"]]] = picture(99, (32, 32))  # "this photo is no longer available"
    world.host.files[place[gone["empty"]]] = b""
    world.host.faults["/dataset/VSDv1/val.json"] = ["short", "cut"]
    world.host.faults["/api/records/1/files/images.zip/content"] = ["cut", "429"]

    params = world.params()
    download(params.fetch, params.seed)
    assert fetched(world) == {
        img_id: content for img_id, content in world.photos.items() if img_id not in gone.values()
    }
    assert world.host.impatient == []
    # What could not be had is listed at the end, with its address and what was said; then admission decides.
    *lines, last = capfd.readouterr().err.splitlines()[-len(gone) - 1 :]
    assert last == f"{len(gone)} files could not be fetched"
    said = {
        "404": "404 Not Found",
        "page!": "a web page instead of the file",
        "short!": "cannot be read as an image",
        "small": "a picture of 32 x 32 pixels, expected 64 x 48",
        "empty": "it is empty",
    }
    for fault, img_id in gone.items():
        (line,) = [line for line in lines if f"{img_id}.jpg: could not be fetched" in line]
        assert f"{world.host.address}{place[img_id]}: " in line
        assert said[fault] in line
    (line, _) = survey(params.fetch, params.seed, every_pixel=True)[1]
    assert f"{len(gone)} photos are missing" in line
    admission, lines = survey(world.params("fetch.skip_invalid=true").fetch, 0, every_pixel=True)
    assert lines == []
    assert {img_id for ids in admission.without_photo.values() for img_id in ids} == {*gone.values()}
    # The archive was gone on with where it was cut off, and what it holds is known without it.
    half = len(world.host.files["/api/records/1/files/images.zip/content"]) // 2
    assert ("/api/records/1/files/images.zip/content", f"bytes={half}-") in world.host.ranges


def test_a_users_own_copies_come_first_and_stay(world) -> None:
    own = world.folder / "photos/deep/VG_100K"
    own.mkdir(parents=True)
    ids = sorted(world.ids["train"])
    (own / f"{ids[0]}.jpg").write_bytes(picture(77))
    (own / f"{ids[1]}.jpg").write_bytes(b"broken")
    (own / NYU).write_bytes(world.photos[NYU])
    (own / FLICKR).write_bytes(world.photos[FLICKR])
    (world.folder / "vsd/VSDv1").mkdir(parents=True)
    (world.folder / "vsd/VSDv1/val.json").write_bytes(world.host.files["/dataset/VSDv1/val.json"] + b"\n")
    before = tree(world.folder)
    params = world.params()
    download(params.fetch, params.seed)
    assert before.items() <= tree(world.folder).items()
    assert not [path for path in world.host.asked if ids[0] in path or ids[1] in path or "/api/" in path]
    assert f"{ids[1]}.jpg: cannot be read as an image" in "\n".join(survey(params.fetch, 0, every_pixel=True)[1])


def test_without_the_list_of_photos_both_folders_are_asked_and_placeholders_found(world, capfd) -> None:
    del world.host.files["/image_data.json.zip"]
    one, other, *_ = world.ids["train"]
    for img_id in (one, other):
        world.host.files[f"/rak248/{world.place[img_id]}"] = picture(55)
    download(world.params().fetch, 0)
    assert fetched(world) == {img_id: data for img_id, data in world.photos.items() if img_id not in (one, other)}
    said = capfd.readouterr().err
    assert "image_data.json could not be fetched" in said
    assert said.count("the same bytes as another photo: a placeholder") == 2


def test_what_is_not_the_authors_file_is_not_taken(world) -> None:
    world.host.files["/dataset/VSDv2/newvsd_train.json"] += b" "
    with pytest.raises(VsdError) as caught:
        download(world.params().fetch, 0)
    said = str(caught.value)
    assert f"{world.folder / 'vsd/VSDv2/newvsd_train.json'}: could not be fetched: {world.host.address}/nowhere" in said
    assert "has the git blob id" in said
    assert not (world.folder / "photos").exists()
    # Where the val files are enough, they are used, and the run goes on.
    own = world.params("fetch.own_split=if_needed")
    download(own.fetch, 0)
    assert makes_own_split(own.fetch)
    assert fetched(world).keys() == {*world.ids["val"]}


def test_a_host_that_only_fails_is_given_up_early(tmp_path) -> None:
    with Host() as host:
        world = World(host, tmp_path, photos=300)
        for kind in ("503!", "404!"):
            host.faults |= {f"/rak248/{place}": [kind] for place in world.place.values()}
            host.asked.clear()
            with pytest.raises(
                VsdError, match=r"300 files are missing .*100 tries in a row brought none; the last one: "
            ):
                download(world.params().fetch, 0)
            assert len(host.asked) < 150
    with pytest.raises(
        VsdError, match=r"tries in a row brought none; the last one: http://127.*Connect.*fetch.download=false"
    ):
        download(world.params().fetch, 0)
    off = world.params("fetch.download=false")
    assert "302 photos are missing" in "\n".join(survey(off.fetch, 0, every_pixel=True)[1])


def test_a_mirror_takes_the_place_of_a_host_that_is_gone(tmp_path) -> None:
    with Host() as host, Host() as gone:
        world = World(host, tmp_path, photos=150)
        described = world.described()
        gone.faults = {f"/rak248/{place}": ["503!"] for place in world.place.values()}
        described["visual_genome"]["addresses"].insert(0, f"{gone.address}/rak248")
        YAML(typ="safe", pure=True).dump(described, world.sources)
        download(world.params().fetch, 0)
        assert fetched(world) == world.photos
        # Soon it is asked once for a photo, not six times, and nobody waits for it.
        assert len(gone.asked) < 3 * 150


def test_a_folder_that_cannot_be_written_is_said(world) -> None:
    (world.folder / "photos").write_text("a file, no folder")
    with pytest.raises(VsdError, match=r"photos.*: what is fetched cannot be written"):
        download(world.params().fetch, 0)


STRANGE = ("../{}", "/tmp/{}", "a/../../{}", "C:\\{}")


@pytest.mark.parametrize("path", [path.format(FLICKR) for path in STRANGE])
def test_an_archive_writes_nothing_outside(world, path) -> None:
    world.put_archive("images.zip", zipped({path: picture(1)}))
    with pytest.raises(VsdError, match=r"images.zip: its member .* would lie outside the folder"):
        download(world.params().fetch, 0)
    assert not list(world.folder.rglob(FLICKR))
    assert not (world.folder.parent / FLICKR).exists()


def test_a_tar_gives_files_and_no_links(world) -> None:
    def tarred(**links: str) -> bytes:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            for name in (FLICKR, NYU):
                info = tarfile.TarInfo(f"deep/er/{name}")
                info.size = len(world.photos[name])
                archive.addfile(info, io.BytesIO(world.photos[name]))
            for name, target in links.items():
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, target
                archive.addfile(info)
        return content.getvalue()

    world.put_archive("images.tar.gz", tarred(link="/etc/passwd"))
    with pytest.raises(VsdError, match=r"its member 'link' is a link or a device"):
        download(world.params().fetch, 0)
    world.put_archive("images2.tar.gz", tarred())
    download(world.params().fetch, 0)
    assert fetched(world) == world.photos


def test_the_preflight_looks_for_room(world, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "PHOTO_BYTES", 10**15)
    (line,) = [line for line in preflight.problems(world.params()) if "room" in line]
    assert "photos that are to be fetched" in line
    assert preflight.problems(world.params("fetch.photos=null")) == []
    absent = preflight.problems(world.params("fetch.download=false"))
    assert len([line for line in absent if "no such annotation file" in line]) == 6


SCRIPT = """
import sys
from pathlib import Path
from vsd_utils.commands.fetch import download
from vsd_utils.common.params import load
params = load(Path(sys.argv[1]))
download(params.fetch, params.seed)
"""


def test_killed_again_and_again_it_leaves_the_folder_of_an_unkilled_run(tmp_path) -> None:
    with Host() as host:
        whole = World(host, tmp_path / "whole", photos=60)
        download(whole.params().fetch, 0)
        world = World(host, tmp_path / "killed", photos=60)
        path = world.folder / "params.yaml"
        YAML(typ="safe", pure=True).dump(world.params().model_dump(mode="json"), path)
        host.delay = 0.02
        host.asked.clear()
        archive = "/api/records/1/files/images.zip/content"
        host.faults[archive] = ["cut"]
        for moment in (4, 30, 70):  # requests by then: among the annotations, twice among the photos
            process = subprocess.Popen([sys.executable, "-c", SCRIPT, path], cwd=ROOT, stderr=subprocess.DEVNULL)
            while len(host.asked) < moment and process.poll() is None:
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        # In the middle of a photo and of the archive.
        (world.folder / "photos/spatialsense/archives").mkdir(parents=True)
        (world.folder / "photos/spatialsense/archives/.images.zip.part").write_bytes(host.files[archive][:99])
        (world.folder / f"photos/spatialsense/.{FLICKR}.{process.pid}.part").write_bytes(b"half of it")
        subprocess.run([sys.executable, "-c", SCRIPT, path], cwd=ROOT, check=True, capture_output=True)
    for name in ("vsd", "photos"):
        assert tree(world.folder / name) == tree(whole.folder / name)
        assert not list((world.folder / name).rglob("*.part"))
    assert fetched(world) == world.photos
    assert (archive, "bytes=99-") in host.ranges
    assert len(host.asked) < 130  # what one run had, no other asked for again
