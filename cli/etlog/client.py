"""The API as commands use it: answers, downloads and the live log, or one sentence that says why not."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import sleep
from urllib.parse import urlsplit

import httpx
import orjson

from etlog.errors import MISUSED, UNREACHABLE, CommandFailed
from etlog.options import settings_of

#: Seconds to wait for an answer. The API promises one within two.
TIMEOUT = 10.0

#: Seconds of silence after which a live connection is made anew. The API sends a sign of life every 15 s.
SILENCE = 40.0

#: Seconds between attempts to restore a live connection.
RETRY = 1.0


#: Parameters of a query; those without a value are not sent.
Parameters = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer, and when it was given by the API's clock (seconds since 1970): that of this machine may
    be wrong."""

    body: bytes
    at: float


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One message of the live log: the id to resume behind it, its name (`message`, `resync`) and its data, which is
    empty where only the id counts."""

    id: str
    name: str
    data: str


class Client:
    """A client of the API at `url`, with a `token` if there is one.

    Raises `CommandFailed` for a `url` that cannot be the address of an API.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self._shown = _shown(url)
        self._url = url.rstrip("/")
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=TIMEOUT)

    def get(self, path: str, parameters: Parameters) -> bytes:
        """The body of the answer at `path`. Raises `CommandFailed` with what the API said, or that it is not there."""
        return self.ask(path, parameters).body

    def ask(self, path: str, parameters: Parameters) -> Answer:
        """The answer at `path`. Raises as `get` does."""
        with self._reached():
            answer = self._client.get(self._url + path, params=_given(parameters))
        self._require_success(answer)
        try:
            orjson.loads(answer.content)["data"].keys()
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise self._not_etlog(answer) from e
        return Answer(answer.content, _time_of(answer.headers))

    @contextmanager
    def download(self, path: str, parameters: Parameters) -> Iterator[Iterator[bytes]]:
        """The body of a long answer, piece by piece. Raises as `get` does."""
        with self._reached(), self._client.stream("GET", self._url + path, params=_given(parameters)) as answer:
            self._require_success(answer)
            yield answer.iter_bytes()

    def live(self, parameters: Parameters) -> Iterator[LiveEvent | None]:
        """The live log from now on, without end: a connection that breaks is made anew and resumed.

        The first item is None and means that the connection is up. Raises as `get` does when it never came up, or
        when the API refuses to continue.
        """
        last, connected = "", False
        while True:
            try:
                with self._client.stream(
                    "GET",
                    f"{self._url}/model/etl/log/stream",
                    params=_given(parameters),
                    headers={"Last-Event-ID": last} if last else {},
                    timeout=httpx.Timeout(TIMEOUT, read=SILENCE),
                ) as answer:
                    if not connected or answer.status_code < 500:
                        self._require_success(answer)
                    if not connected:
                        connected = True
                        yield None
                    for event in _events(answer.iter_lines()):
                        last = event.id or last
                        if event.data:
                            yield event
            except (httpx.HTTPError, httpx.InvalidURL) as e:
                if not connected:
                    raise self._unreachable(e) from e
            sleep(RETRY)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise self._unreachable(e) from e

    def _unreachable(self, error: Exception | str) -> CommandFailed:
        reason = str(error) or type(error).__name__
        return CommandFailed(
            f"the API at {self._shown} cannot be reached ({reason}); name another with --url or ETLOG_URL", UNREACHABLE
        )

    def _not_etlog(self, answer: httpx.Response) -> CommandFailed:
        return CommandFailed(
            f"the server at {self._shown} is not etlog ({answer.status_code} {answer.reason_phrase}); "
            "name its API with --url or ETLOG_URL"
        )

    def _require_success(self, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            return
        answer.read()
        try:
            said = printable(str(orjson.loads(answer.content)["message"]))
        except (ValueError, KeyError, TypeError) as e:
            if answer.status_code in {502, 503, 504}:  # of a proxy before it
                raise self._unreachable(f"{answer.status_code} {answer.reason_phrase}") from e
            raise self._not_etlog(answer) from e
        if answer.status_code == 401:
            said += "; set ETLOG_API_TOKEN"
        code = UNREACHABLE if answer.status_code >= 500 else MISUSED
        raise CommandFailed(f"the API answered {answer.status_code}: {said}", code)


def client_of(url: str) -> Client:
    """A client of the API at `url`, with the first token of the settings."""
    return Client(url, next((token.secret for token in settings_of().tokens), None))


def printable(text: str) -> str:
    """`text` with escapes in place of whatever could move the cursor, color the screen or reorder letters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _given(parameters: Parameters) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def _time_of(headers: httpx.Headers) -> float:
    """The time now, as the headers of an answer tell it: `Date`, and for how long caches held the answer since."""
    try:
        at = parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return time.time()
    age = headers.get("Age", "0")
    return at + (int(age) if re.fullmatch("[0-9]{1,9}", age) else 0)


def _events(lines: Iterator[str]) -> Iterator[LiveEvent]:
    """Server-Sent Events, by the HTML standard as far as the API uses it."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields or "id" in fields:
                yield LiveEvent(fields.get("id", ""), fields.get("event", "message"), fields.get("data", ""))
            fields = {}


def _shown(url: str) -> str:
    """`url` without user and password. Raises `CommandFailed` unless it names a host and HTTP or HTTPS."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        pass
    raise CommandFailed("--url or ETLOG_URL must be the address of an API such as http://127.0.0.1:9090")
