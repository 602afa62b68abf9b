"""The processes that work on a log: stages that emit, a consumer, the API, and who follows it."""

import json
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import httpx
from etlog_events.keys import Keys
from support.apis import ApiProcess, Tail
from support.commands import Command
from support.emitters import Emitter
from support.servers import PATIENCE, wait_until
from support.stream import Client, entries

#: Events that a stage must have emitted since a fault, before what comes counts as done after it.
AFTER = 50

#: Seconds that any process may take to be at work again, once the store is.
SOON = 5.0


class Processes:
    """A consumer and a replica of the API on the log `log` at `url`, and whatever is started with them."""

    def __init__(self, url: str, log: str, **settings: str) -> None:
        self._url = url
        self._log = log
        self._consumer = Command("consume", "--redis-url", url, "--log", log)
        self.api = ApiProcess(url, name=log, **settings)
        self._tails: list[Tail] = []
        self._stages: list[Emitter] = []

    def stage(self, name: str, **options: Any) -> Emitter:
        """A new stage at work."""
        self._stages.append(Emitter(self._url, self._log, name, **options))
        return self._stages[-1]

    def wait(self, *stages: Emitter) -> None:
        """Wait until all processes are at work on what `stages` emit."""
        self.api.wait()
        for stage in stages:
            wait_until(lambda: stage.acknowledged >= AFTER, what=f"{stage.name} to begin")  # noqa: B023
            wait_until(partial(self.answered, stage.name), what="the API to answer")
            wait_until(partial(self.followed, stage.name), what="a client to follow")

    def answered(self, stage: str) -> int:
        """The last number of `stage` in the API's answer, which must come within two seconds; 0 while it is from before
        an outage."""
        began = time.monotonic()
        answer = httpx.get(self.api.log, params={"limit": "50"}, timeout=PATIENCE).json()
        assert time.monotonic() - began < 2
        if "warning" in answer or answer["code"] != 200:
            return 0
        return _last(stage, (event["metadata"] for event in reversed(answer["data"]["allocation"])))

    def followed(self, stage: str) -> int:
        """The last number of `stage` that a client of the live log was told. It comes again when it was sent away, as
        a browser does."""
        if not self._tails or self._tails[-1].ended:
            self._tails.append(Tail(self.api.url, last=self._tails[-1].last if self._tails else b""))
        return _last(stage, (json.loads(text)["metadata"] for text in reversed(self._tails[-1].data[-500:])))

    def close(self) -> None:
        """End everything."""
        for stage in self._stages:
            stage.kill()
        for tail in self._tails:
            tail.close()
        self.api.close()
        self._consumer.close()


def _last(stage: str, newest_first: Iterable[Any]) -> int:
    return next((int(metadata["size"]) for metadata in newest_first if metadata.get("stage") == stage), 0)


def numbers_of(client: Client, keys: Keys, stage: str) -> list[int]:
    """The numbers of the events of `stage` in the stream."""
    found = (entry.metadata for entry in entries(client, keys) if b'"stage":' in entry.event)
    return [metadata["size"] for metadata in found if metadata["stage"] == stage]


def times_until(**conditions: Callable[[], Any]) -> dict[str, float]:
    """By the name of each condition, the seconds until it was first true."""
    began = time.monotonic()
    times: dict[str, float] = {}

    def all_true() -> bool:
        for name, condition in conditions.items():
            if name not in times and condition():
                times[name] = time.monotonic() - began
        return len(times) == len(conditions)

    try:
        wait_until(all_true, what="all processes")
    except AssertionError as e:
        raise AssertionError(f"only these went on: {times}") from e
    return times
