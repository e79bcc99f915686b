"""Real servers on this machine for tests: ``transformers serve``, and a gate before it that counts and refuses."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SECONDS_TO_START = 120


@contextmanager
def transformers_serve(log: Path) -> Iterator[str]:
    """Run ``transformers serve``, which serves any model by its folder; gives the address of its protocol."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name("transformers")
    command = [str(program), "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | quiet)
    try:
        until = time.monotonic() + SECONDS_TO_START
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class Gate:
    """Stand before a real server: note each request, and refuse those for which ``refuse`` gives a status.

    ``refuse`` is given the number of the request, from 0; None lets it through.
    """

    def __init__(self, behind: str) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []  # when each request came, in seconds
        self.refuse: Callable[[int], int | None] = lambda number: None
        self._lock = threading.Lock()
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with gate._lock:
                    number = len(gate.bodies)
                    gate.bodies.append(json.loads(body))
                    gate.keys.append(self.headers["Authorization"])
                    gate.times.append(time.monotonic())
                if status := gate.refuse(number):
                    # As some servers do, it repeats what it was given.
                    self._say(
                        status, json.dumps({"error": {"message": f"no: {self.headers['Authorization']}"}}).encode()
                    )
                    return
                sent = urllib.request.Request(
                    behind.removesuffix("/v1") + self.path, body, {"Content-Type": "application/json"}
                )
                try:
                    with urllib.request.urlopen(sent) as answer:
                        self._say(answer.status, answer.read())
                except urllib.error.HTTPError as error:
                    self._say(error.code, error.read())

            def _say(self, status: int, text: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.send_header("Retry-After-Ms", "1")
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
