"""Files from other machines: many at a time, verified, retried, and never half of one under its final name.

The transfer itself is httpx2's, the maintained continuation of httpx, which huggingface-hub brings along: connections
that are kept, time limits, redirects, proxies and certificates from the environment, and an error where a body is
shorter than was announced. When to try again is tenacity's. Looked at and not taken: pooch (one file after the other
and no resuming), fsspec (no retries over HTTP), huggingface_hub (its downloader serves its own hub alone).
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import tenacity

from vsd_utils.common.errors import VsdError
from vsd_utils.common.progress import Meter, steps
from vsd_utils.common.sections import Transfer

_LARGE = 50_000_000  # bytes from which on a file has a progress of its own
_MAY_PASS = frozenset({408, 425, 429})  # of the 4xx; all 5xx may pass too
# A second try is enough for what is no matter of time: a web page instead of the file, a host that was never reached.
_FEW = 2


class UnsoundError(Exception):
    """What was received is not the file that is wanted; the text says why."""


class Wanted(NamedTuple):
    """Say where a file is to lie, the addresses to try in turn, and how to see that what came is the file.

    ``check`` is given the path of what came and raises ``UnsoundError``. ``resumable``: go on with the part that an
    earlier run received; only for files with a digest, for nothing else notices halves of two different files.
    """

    path: Path
    addresses: tuple[str, ...]
    check: Callable[[Path], object]
    resumable: bool


class Missing(NamedTuple):
    """Name a file that could not be had, with what each address said: ``("https://...: 404 Not Found", ...)``."""

    path: Path
    reasons: tuple[str, ...]


class _RefusedError(Exception):
    """An address says for good that it does not have the file."""


class _AgainError(Exception):
    """It may work a moment later: at most ``tries`` times, the next one not before ``seconds`` from now."""

    def __init__(self, reason: str, tries: int, seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.tries, self.seconds = tries, seconds


class _StoppedError(Exception):
    """Another thread has ended the work."""


class Downloader:
    """Fetch lists of files; what one list has shown of hosts that cannot be reached is kept for the next."""

    def __init__(self, settings: Transfer) -> None:
        """Take how patient and how parallel to be."""
        self._settings = settings
        self._backoff = tenacity.wait_random_exponential(settings.wait, settings.longest_wait)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._answered = False  # by any host
        self._vain = 0  # tries in a row, of all threads, that brought nothing
        self._vain_at: Counter[str] = Counter()  # those of each host
        self._proven = False
        self._work = ""  # for messages
        self._not_before = 0.0  # as time.monotonic
        self._bytes, self._files, self._start = 0, 0, 0.0

    def fetch(self, wanted: Sequence[Wanted], name: str, proven: bool) -> list[Missing]:
        """Fetch the files and return those that could not be had, in their order; progress is shown under ``name``.

        ``proven``: these addresses have given other files before, so that a "not found" speaks of the one file.
        Raises ``VsdError`` where so many tries in a row bring nothing that the rest is not tried, and ``OSError`` where
        files cannot be written.
        """
        if not wanted:
            return []
        self._vain, self._proven = 0, proven
        self._work = f"{len(wanted):,} files are missing ({wanted[0].path}{', ...' if len(wanted) > 1 else ''})"
        self._bytes, self._files, self._start = 0, 0, time.monotonic()
        missing: dict[int, Missing] = {}
        with self._client() as client, ThreadPoolExecutor(self._settings.at_once) as pool:
            numbers = {pool.submit(self._fetch_one, client, one): number for number, one in enumerate(wanted)}
            try:
                for future in steps(as_completed(numbers), name, len(numbers), remark=self._rate):
                    if (found := future.result()) is not None:
                        missing[numbers[future]] = found
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return [missing[number] for number in sorted(missing)]

    def _client(self) -> httpx2.Client:
        return httpx2.Client(
            follow_redirects=True,
            timeout=self._settings.timeout,
            limits=httpx2.Limits(max_connections=self._settings.at_once),
            # As it lies there: what is resumed must be the same bytes.
            headers={"Accept-Encoding": "identity", "User-Agent": "vsd-utils"},
        )

    def _fetch_one(self, client: httpx2.Client, wanted: Wanted) -> Missing | None:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(wanted.path)
        reasons = []
        try:
            for address in wanted.addresses:
                tries = self._tries_at(address, is_last=address == wanted.addresses[-1])
                retrying = tenacity.Retrying(
                    retry=tenacity.retry_if_exception_type(_AgainError),
                    stop=partial(_enough, tries),
                    wait=self._seconds_to_wait,
                    sleep=tenacity.sleep_using_event(self._stop),
                    reraise=True,
                )
                try:
                    retrying(self._try, client, address, wanted, part)
                except (_AgainError, _RefusedError) as error:
                    reasons.append(f"{address}: {error}")
                else:
                    return None
        finally:
            if not wanted.resumable:
                part.unlink(missing_ok=True)
        return Missing(wanted.path, tuple(reasons))

    def _try(self, client: httpx2.Client, address: str, wanted: Wanted, part: Path) -> None:
        """Try one address once; on success the file lies under its final name."""
        pause = self._not_before - time.monotonic()
        if pause > 0:
            self._stop.wait(pause)
        if self._stop.is_set():
            raise _StoppedError
        try:
            self._receive(client, address, wanted, part)
        except UnsoundError as error:
            part.unlink(missing_ok=True)
            problem: Exception = _AgainError(str(error), self._at_most(_FEW))
        except _AgainError as error:
            problem = error
        except _RefusedError as error:
            problem = error
        except httpx2.ConnectError as error:
            problem = _AgainError(_words(error), self._settings.attempts if self._answered else self._at_most(_FEW))
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            problem = _AgainError(_words(error), self._settings.attempts)
        except httpx2.InvalidURL as error:
            problem = _RefusedError(_words(error))
        else:
            with self._lock:
                self._vain, self._proven = 0, True
                self._vain_at[_host(address)] = 0
                self._files += 1
            return
        self._count_vain(address, problem)
        raise problem

    def _receive(self, client: httpx2.Client, address: str, wanted: Wanted, part: Path) -> None:
        have = part.stat().st_size if wanted.resumable and part.is_file() else 0
        with client.stream("GET", address, headers={"Range": f"bytes={have}-"} if have else {}) as response:
            self._answered = True
            if response.status_code == 416 and have:  # all of it was there, or more than there is
                self._take(wanted, part)
                return
            self._judge(response)
            goes_on = response.status_code == 206 and response.headers.get("content-range", "").startswith(
                f"bytes {have}-"
            )
            if response.status_code == 206 and not goes_on:
                raise UnsoundError("another part of the file than was asked for")
            length = int(response.headers.get("content-length", 0)) + (have if goes_on else 0)
            meter = Meter(f"{wanted.path.name} (MB)", length // 10**6, have // 10**6) if length > _LARGE else None
            with part.open("ab" if goes_on else "wb") as file:
                for chunk in response.iter_bytes():
                    if self._stop.is_set():
                        raise _StoppedError
                    file.write(chunk)
                    with self._lock:
                        self._bytes += len(chunk)
                    if meter:
                        meter.at(file.tell() // 10**6, self._rate())
                file.flush()
                # A final name must not be on disk before the content is.
                os.fsync(file.fileno())
        self._take(wanted, part)

    def _judge(self, response: httpx2.Response) -> None:
        """Raise what the status and the kind of an answer mean, unless a file follows."""
        status = f"{response.status_code} {response.reason_phrase}".strip()
        if response.status_code in _MAY_PASS or response.status_code >= 500:
            seconds = min(_retry_after(response.headers.get("retry-after", "")), self._settings.longest_wait)
            with self._lock:  # a host that asks one thread to wait asks all
                self._not_before = max(self._not_before, time.monotonic() + seconds)
            raise _AgainError(status, self._settings.attempts, seconds)
        if response.status_code not in (200, 206):
            raise _RefusedError(status)
        if response.headers.get("content-type", "").startswith("text/html"):
            raise UnsoundError("a web page instead of the file")

    @staticmethod
    def _take(wanted: Wanted, part: Path) -> None:
        wanted.check(part)
        part.replace(wanted.path)

    def _seconds_to_wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(self._backoff(state), error.seconds if isinstance(error, _AgainError) else 0.0)

    def _tries_at(self, address: str, is_last: bool) -> int:
        """Be patient with a host, unless it has given nothing for long and another address is left to try."""
        dead = self._vain_at[_host(address)] >= _FEW * self._settings.at_once
        return 1 if dead and not is_last else self._settings.attempts

    def _at_most(self, tries: int) -> int:
        return min(tries, self._settings.attempts)

    def _count_vain(self, address: str, problem: Exception) -> None:
        """Raise ``VsdError`` when it is time to give up."""
        with self._lock:
            self._vain_at[_host(address)] += 1
            if not (isinstance(problem, _RefusedError) and self._proven):
                self._vain += 1
            vain = self._vain
        if vain >= self._settings.give_up_after:
            raise VsdError(
                f"{self._work}: {vain} tries in a row brought none; the last one: {address}: {problem}. Given up; the "
                "same command goes on where it was. Look whether the network and the host are there, name another "
                "address in fetch.sources, or put the files there by hand (with fetch.download=false nobody is asked)."
            )

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-3)
        return f", {self._files / seconds:.1f} files/s, {self._bytes / 1e6 / seconds:.2f} MB/s"


def part_of(path: Path) -> Path:
    """Name what has been received so far of a file; without a process number, so that another run goes on with it."""
    return path.with_name(f".{path.name}.part")


def fetch_first(downloader: Downloader, wanted: Wanted) -> Path:
    """Fetch one file that has to be there; raises ``VsdError`` with what each address said."""
    if missing := downloader.fetch([wanted], wanted.path.name, proven=False):
        raise VsdError(f"{wanted.path}: could not be fetched: {'; '.join(missing[0].reasons)}")
    return wanted.path


def _enough(tries: int, state: tenacity.RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return state.attempt_number >= (min(tries, error.tries) if isinstance(error, _AgainError) else 1)


def _host(address: str) -> str:
    return urlsplit(address).netloc


def _retry_after(text: str) -> float:
    """Read the header ``Retry-After``, seconds or a date, as seconds from now; 0 for anything else."""
    try:
        return max(float(text), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]
