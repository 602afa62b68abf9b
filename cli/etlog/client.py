"""The API as the commands see it: answers, downloads and the live log, or one sentence on why not."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep

import httpx
import orjson

from etlog.errors import FAILED, MISUSED, CommandFailed

#: Seconds to wait for an answer. The API promises one within two.
TIMEOUT = 10.0

#: Seconds without a sign of life after which a live connection is made anew. The API sends one every 15.
SILENCE = 40.0

#: Seconds between attempts to get a live connection back.
RETRY = 1.0


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One event of the live log: the id of its entry, its name (`message`, `resync`) and its data."""

    id: str
    name: str
    data: str


class Client:
    """A client of the API at `url`; `token` is sent where one is given."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._url = url.rstrip("/")
        self._client = httpx.Client(headers=headers, timeout=TIMEOUT)

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer. Raises `CommandFailed` with what the API said, or that it is not there."""
        with self._explained():
            answer = self._client.get(self._url + path, params=dict(parameters or {}))
        self._require_success(answer)
        return answer.content

    @contextmanager
    def download(self, path: str) -> Iterator[Iterator[bytes]]:
        """The body of a long answer, piece by piece."""
        with self._explained(), self._client.stream("GET", self._url + path) as answer:
            if answer.status_code != 200:
                answer.read()
            self._require_success(answer)
            yield answer.iter_bytes()

    def live(self, kind: str) -> Iterator[LiveEvent]:
        """The live log from now on, without end: a connection that breaks is made anew and resumed.

        The first item is an empty event that says the connection stands.
        """
        last, connected = "", False
        while True:
            headers = {"Last-Event-ID": last} if last else {}
            try:
                with self._client.stream(
                    "GET",
                    f"{self._url}/model/etl/log/stream",
                    params={"kind": kind} if kind else {},
                    headers=headers,
                    timeout=httpx.Timeout(TIMEOUT, read=SILENCE),
                ) as answer:
                    if answer.status_code != 200:
                        answer.read()
                    if answer.status_code not in {200, 503} or not connected:
                        self._require_success(answer)
                    if not connected:
                        connected = True
                        yield LiveEvent("", "", "")
                    for event in _events(answer.iter_lines()):
                        last = event.id or last
                        yield event
            except httpx.HTTPError as e:
                if not connected:
                    raise self._unreachable(e) from e
            sleep(RETRY)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise self._unreachable(e) from e

    def _unreachable(self, error: Exception) -> CommandFailed:
        return CommandFailed(
            f"the API at {self._url} cannot be reached ({error}); name another with --url or ETLOG_URL"
        )

    def _require_success(self, answer: httpx.Response) -> None:
        if answer.status_code == 200:
            return
        try:
            message = orjson.loads(answer.content)["message"]
        except (ValueError, KeyError, TypeError):
            raise CommandFailed(
                f"{self._url} answered {answer.status_code} and is no API of etlog; name another with --url or ETLOG_URL"
            ) from None
        if answer.status_code == 401:
            message = f"{message}; set ETLOG_API_TOKEN"
        raise CommandFailed(
            f"the API answered {answer.status_code}: {message}", FAILED if answer.status_code >= 500 else MISUSED
        )


def _events(lines: Iterator[str]) -> Iterator[LiveEvent]:
    """Server-Sent Events, by the HTML standard as far as the API uses it."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields:
                yield LiveEvent(fields.get("id", ""), fields.get("event", "message"), fields["data"])
            fields = {}
