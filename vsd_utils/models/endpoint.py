"""The one client for servers that speak OpenAI's chat protocol: vLLM, Ollama, ``transformers serve``, a vendor's model.

OpenAI's own package sends the requests, waits and tries again. The key comes from the environment variable that the
parameters name, and is written nowhere: not into a message, not into a row. What a server answers can change from day
to day, so its rows say who served them.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, NamedTuple

import openai

from vsd_utils.common.errors import VsdError
from vsd_utils.common.resume import Row, finish_batches
from vsd_utils.common.sections import Endpoint

RETRIES = 4  # of a request that met a busy server or none; the package doubles the wait up to 8 s, or does as told
TIMEOUT_S = 600.0  # for one answer; a server that loads its model first takes minutes
# For the estimate only. Rules of thumb of the vendors: OpenAI's for English text, Anthropic's for images.
CHARACTERS_PER_TOKEN = 4
PIXELS_PER_TOKEN = 750


class Request(NamedTuple):
    """A chat to be answered and how: ``fields`` are further ones of the request's body, by their names there."""

    messages: list[dict[str, Any]]
    fields: Mapping[str, Any]


class Answer(NamedTuple):
    """What a server wrote; ``whole`` is False where it was cut off at the limit of new tokens."""

    text: str
    whole: bool


class Size(NamedTuple):
    """What a request is estimated by: characters and pixels that go in, and the most tokens that may come out."""

    characters: int
    pixels: int
    new_tokens: int


class Server:
    """A server that can be asked."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Take the endpoint's parameters; raises ``VsdError`` where the variable with the key is not set."""
        self.settings = Endpoint.model_validate(dict(settings))
        self._key = _key(self.settings.api_key_variable)
        self._client = openai.OpenAI(
            base_url=self.settings.base_url,
            api_key=self._key or "none",  # the package asks for one, and a server without keys does not look
            max_retries=RETRIES,
            timeout=TIMEOUT_S,
            # Each request that is sent keeps the pace, those tried again too.
            http_client=openai.DefaultHttpxClient(event_hooks={"request": [_Pace(self.settings.requests_per_minute)]}),
        )

    @property
    def served_by(self) -> dict[str, str]:
        """Say who answers, for the rows."""
        return {"base_url": self.settings.base_url, "model": self.settings.model}

    def finish(
        self,
        rows: Sequence[Row],
        request: Callable[[Row], Request],
        answered: Callable[[Row, Answer], Row],
        unfinished: Path,
        key: Callable[[Row], Hashable],
    ) -> dict[Hashable, Row]:
        """Ask the ``request`` of each row and return what ``answered`` makes of row and answer, by ``key``.

        Each answer is kept in the file ``unfinished`` as it comes and never asked again (``resume.finish_batches``), in
        the order of the answers. Raises ``VsdError`` when one cannot be had; all others that were under way are kept.
        """

        def work(left: Sequence[Sequence[Row]]) -> Iterator[list[Row]]:
            for row, answer in self._as_they_come([row for batch in left for row in batch], request):
                yield [answered(row, answer)]

        return finish_batches([[row] for row in rows], work, unfinished, key)

    def _as_they_come(self, rows: Sequence[Row], request: Callable[[Row], Request]) -> Iterator[tuple[Row, Answer]]:
        """Yield rows with their answers, the earliest first, with ``requests_at_once`` under way."""
        waiting: dict[Future[Answer], Row] = {}
        left = iter(rows)
        failure: VsdError | None = None
        with ThreadPoolExecutor(self.settings.requests_at_once) as pool:
            while True:
                while failure is None and len(waiting) < self.settings.requests_at_once:
                    if (row := next(left, None)) is None:
                        break
                    waiting[pool.submit(self.ask, request(row))] = row
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    row = waiting.pop(future)
                    try:
                        answer = future.result()
                    except VsdError as error:
                        failure = failure or error  # raised when all that is under way, and may cost, is safe
                        continue
                    yield row, answer
        if failure:
            raise failure

    def ask(self, request: Request) -> Answer:
        """Have one request answered; raises ``VsdError`` with the server's reason when it is not, after all retries."""
        fields = {**request.fields, **self.settings.request_fields}
        body = {name: value for name, value in fields.items() if value is not None}
        try:
            found = self._client.chat.completions.create(
                model=self.settings.model,
                messages=request.messages,  # type: ignore[arg-type]
                extra_body=body,
            )
            choice = found.choices[0]
            return Answer((choice.message.content or "").strip(), choice.finish_reason != "length")
        except openai.APIStatusError as error:
            what = f"status {error.status_code}, {_first_line(error)}"
            advice = _ADVICE_SERVER if error.status_code >= 500 else _ADVICE_ELSE
            raise self._failure(what, _ADVICE.get(error.status_code, advice)) from None
        except openai.APITimeoutError:
            raise self._failure(f"no answer in {TIMEOUT_S:.0f} s", "Is the server overloaded?") from None
        except openai.APIConnectionError as error:
            reason = str(error.__cause__ or error)
            raise self._failure(f"cannot be reached ({reason})", "Is it running, and is base_url right?") from None
        except (openai.OpenAIError, AttributeError, TypeError, IndexError, ValueError) as error:
            what = f"the answer is no chat completion ({type(error).__name__})"
            raise self._failure(what, "Is base_url that of an OpenAI-compatible server, with its /v1?") from None

    def _failure(self, what: str, advice: str) -> VsdError:
        text = f"{self.settings.base_url}, model {self.settings.model}: {what}. {advice}"
        # Some servers repeat the key that they refuse.
        hidden = text.replace(self._key, "***") if self._key else text
        return VsdError(f"{hidden}\nAll answers so far are kept; the same command goes on from there.")

    def estimate(self, sizes: Iterable[Size]) -> str:
        """Say before anything is sent what it may come to, as an estimate: requests, tokens, dollars."""
        listed = list(sizes)
        tokens_in = sum(size.characters / CHARACTERS_PER_TOKEN + size.pixels / PIXELS_PER_TOKEN for size in listed)
        tokens_out = sum(size.new_tokens for size in listed)
        prices = (self.settings.dollars_per_million_input_tokens, self.settings.dollars_per_million_output_tokens)
        if None in prices:
            cost = "dollars unknown, because the endpoint's prices are null"
        else:
            cost = f"at most about {(tokens_in * (prices[0] or 0) + tokens_out * (prices[1] or 0)) / 1e6:,.2f} dollars"
        return (
            f"{self.settings.model} at {self.settings.base_url}: {len(listed):,} requests; estimate, not measured: "
            f"{tokens_in:,.0f} tokens in (one for {CHARACTERS_PER_TOKEN} characters or {PIXELS_PER_TOKEN} pixels), at "
            f"most {tokens_out:,} out, {cost}"
        )


def what_counts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a section's parameters what no answer depends on: the endpoint's pace, prices and key variable.

    So a run that a server's limit has stopped goes on with a slower pace.
    """
    settings = parameters["endpoint"]
    if settings is None:
        return dict(parameters)
    return {**parameters, "endpoint": {name: settings[name] for name in ("base_url", "model", "request_fields")}}


_ADVICE = {
    401: "Does the variable that endpoint.api_key_variable names hold the right key?",
    403: "Does the variable that endpoint.api_key_variable names hold the right key?",
    404: "Are endpoint.base_url (with its /v1) and endpoint.model what the server calls them?",
    429: "Lower endpoint.requests_per_minute or requests_at_once, or look at the account's quota.",
}
_ADVICE_SERVER = "The server itself failed. Look at its log, or try again later."
_ADVICE_ELSE = "A field that this model does not take can be taken out or set in endpoint.request_fields."


class _Pace:
    """Let requests start no faster than so many a minute; None: as they come."""

    def __init__(self, requests_per_minute: float | None) -> None:
        self._seconds = 60 / requests_per_minute if requests_per_minute else 0.0
        self._next = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, request: Any) -> None:
        with self._lock:
            start = max(self._next, time.monotonic())
            self._next = start + self._seconds
        time.sleep(max(0.0, start - time.monotonic()))


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise VsdError(
            f"the environment variable {variable}, which endpoint.api_key_variable names, is not set. "
            f"Type: export {variable}=... and run the same command again; null says that the server asks for no key."
        )
    if not (key.isascii() and key.isprintable()):
        raise VsdError(f"the environment variable {variable} holds signs that no key has. Set it again.")
    return key


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
