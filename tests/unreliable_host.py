"""A web server on this machine that has a small VSD with all its photos, and misbehaves as it is told to."""

import hashlib
import io
import json
import random
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from ruamel.yaml import YAML

from vsd_utils.common.paths import annotation_file
from vsd_utils.common.profiles import compose
from vsd_utils.common.sections import Params

SIZE = (64, 48)
BOXES = {"s_bbox": [2, 20, 2, 30], "o_bbox": [10, 46, 20, 62]}
PATIENCE = 0.2  # seconds that the host asks for with 429
# Of the test split; all others are Visual Genome's.
FLICKR, NYU = "4711_0ab.jpg", "nyu_7.png"


def picture(seed: int, size: tuple[int, int] = SIZE, kind: str = "JPEG") -> bytes:
    """A picture that no other seed gives."""
    content = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(seed).randbytes(size[0] * size[1] * 3)).save(content, kind)
    return content.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return content.getvalue()


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that were killed."""


class Host:
    """Serve ``files`` by path; a context manager.

    ``faults`` holds by path what is done to the first answers, one after the other, and to all that follow where the
    last one ends in "!": 404, 429, 503, cut (announced longer than it is), short (half of it, unannounced), page
    (HTML), reset (the connection is closed). ``asked`` lists paths, ``ranges`` what of which file was asked for.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.ranges: list[tuple[str, str]] = []
        self.impatient: list[str] = []
        self.delay = delay
        self._not_before: dict[str, float] = {}
        self._server = QuietServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Host":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fault(self, path: str) -> str:
        waiting = self.faults.get(path, [])
        if not waiting:
            return ""
        return waiting[0].rstrip("!") if waiting[0].endswith("!") else waiting.pop(0)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.asked.append(self.path)
                time.sleep(host.delay)
                if time.monotonic() < host._not_before.get(self.path, 0):
                    host.impatient.append(self.path)
                fault, content = host.fault(self.path), host.files.get(self.path)
                if fault == "reset":
                    self.close_connection = True
                    return
                if fault == "page":
                    self.answer(200, b"<html>Log in first</html>", "text/html; charset=utf-8")
                elif fault in ("429", "503"):
                    host._not_before[self.path] = time.monotonic() + PATIENCE if fault == "429" else 0
                    self.answer(int(fault), b"later", **{"Retry-After": str(PATIENCE)} if fault == "429" else {})
                elif content is None or fault == "404":
                    self.answer(404, b"not here")
                else:
                    self.file(content, fault)

            def file(self, content: bytes, fault: str) -> None:
                wanted, status, more = self.headers.get("Range"), 200, {}
                if wanted:
                    start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                    host.ranges.append((self.path, wanted))
                    if start >= len(content):
                        self.answer(416, b"")
                        return
                    status = 206
                    more = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
                    content = content[start:]
                if fault == "short":
                    content = content[: len(content) // 2]
                if fault == "cut":
                    self.answer(status, content, sent=len(content) // 2, **more)
                    self.close_connection = True
                else:
                    self.answer(status, content, **more)

            def answer(
                self, status: int, content: bytes, kind: str = "image/jpeg", sent: int | None = None, **more: str
            ) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **more}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content[:sent])

            def log_message(self, *words: object) -> None:
                pass

        return Handler


class World:
    """A small VSD on a host: annotations, Visual Genome's photos and its list, SpatialSense's in a Zenodo record."""

    def __init__(self, host: Host, folder: Path, photos: int = 12) -> None:
        """Put everything on ``host``; ``folder`` is where a user keeps ``sources.yaml`` and what is fetched."""
        self.host, self.folder = host, folder
        numbers = [str(1000 + number) for number in range(photos)]
        self.ids = {"train": numbers[4:], "val": numbers[:2], "test": [*numbers[2:4], FLICKR, NYU]}
        for split, ids in self.ids.items():
            for version in (1, 2):
                name = annotation_file(version, split, Path()).as_posix()
                host.files[f"/dataset/{name}"] = json.dumps([self._item(img_id) for img_id in ids]).encode()
        self.photos = {img_id: picture(int(img_id)) for img_id in numbers}
        self.place = {img_id: f"VG_100K{'_2' * (int(img_id) % 2)}/{img_id}.jpg" for img_id in numbers}
        host.files |= {f"/rak248/{self.place[img_id]}": content for img_id, content in self.photos.items()}
        entries = [
            {"image_id": int(img_id), "url": f"https://elsewhere/rak248/{place}", "width": SIZE[0], "height": SIZE[1]}
            for img_id, place in self.place.items()
        ]
        host.files["/image_data.json.zip"] = zipped({"image_data.json": json.dumps(entries).encode()})
        self.photos |= {FLICKR: picture(1), NYU: picture(2, kind="PNG")}
        inside = {f"images/flickr/{FLICKR}": self.photos[FLICKR], f"images/nyu/{NYU}": self.photos[NYU]}
        self.put_archive("images.zip", zipped(inside | {"images/flickr/other.jpg": picture(3), "readme.txt": b"hello"}))
        self.sources = folder / "sources.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        YAML(typ="safe", pure=True).dump(self.described(), self.sources)

    def put_archive(self, name: str, content: bytes) -> None:
        """Let the record hold this one archive, and a file that is none, in the shape of Zenodo's answers."""
        files = {name: content, "annotations.json": b"[]"}
        listed = [
            {
                "id": f"id of {key}",
                "key": key,
                "size": len(data),
                "checksum": f"md5:{hashlib.md5(data).hexdigest()}",
                "links": {"self": f"{self.host.address}/api/records/1/files/{key}/content"},
            }
            for key, data in files.items()
        ]
        self.host.files |= {f"/api/records/1/files/{key}/content": data for key, data in files.items()}
        self.host.files["/api/records/1"] = json.dumps({"id": 1, "title": "SpatialSense", "files": listed}).encode()

    def described(self) -> dict[str, Any]:
        """What a user who knows this host writes into a file like ``sources.yaml``."""
        blobs = {
            path.removeprefix("/dataset/"): hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            for path, content in self.host.files.items()
            if path.startswith("/dataset/")
        }
        at = self.host.address
        return {
            "annotations": {"addresses": [f"{at}/nowhere", f"{at}/dataset"], "git_blobs": blobs},
            "visual_genome": {
                "image_data": [f"{at}/image_data.json.zip"],
                "addresses": [f"{at}/rak248"],
                "folders": ["VG_100K_2", "VG_100K"],
            },
            "spatialsense": {"records": [f"{at}/api/records/1"]},
        }

    def overrides(self) -> list[str]:
        """The parameters of a user who has nothing yet."""
        return [
            *("fetch.source=folder", "fetch.download=true", "fetch.transfer.wait=0", "fetch.transfer.at_once=4"),
            *(f"fetch.annotations={self.folder / 'vsd'}", f"fetch.photos={self.folder / 'photos'}"),
            f"fetch.sources={self.sources}",
        ]

    def params(self, *more: str) -> Params:
        return Params.model_validate(compose(["profile=smoke", *self.overrides(), *more]))

    @staticmethod
    def _item(img_id: str) -> dict[str, Any]:
        triple = {"s": f"cup {img_id}", "o": "box", "p": "on", **BOXES}
        return {"img_id": img_id, "triple_list": [triple], "captions": [f"cup {img_id} on box", "there is a cup"]}
