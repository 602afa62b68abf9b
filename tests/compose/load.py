"""The load: events at a steady pace from a container, and questions through the load balancer meanwhile."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.error import HTTPError

from compose.deployment import BALANCER, Deployment
from etlog_events.event import Event
from support.samples import WINDOW

#: The kinds that the load's events take in turn.
KINDS = ("AllocationSetSaved", "AllocationSetLoaded", "AssetSetSaved", "AssetSetTotaled")


class Emitting:
    """`events` events at `pace` a second, fed to `etlog emit` in a container."""

    def __init__(self, deployment: Deployment, events: int, pace: int) -> None:
        self.events = events
        self._fed = 0
        self._pace = pace
        self._process = deployment.emitter()
        self._thread = threading.Thread(target=self._feed)
        self._thread.start()

    def has_fed(self, events: int) -> bool:
        """Whether so many events are on their way. Raises `RuntimeError` when the emitter has failed."""
        if self._process.poll():
            self.finish()
        return self._fed >= events

    def finish(self) -> str:
        """Wait for the end. Returns what was printed; raises `RuntimeError` when the emitter failed."""
        self._thread.join()
        assert self._process.stdout is not None
        printed = self._process.stdout.read().strip()
        if self._process.wait():
            raise RuntimeError(f"etlog emit failed:\n{printed}")
        return printed

    def _feed(self) -> None:
        assert self._process.stdin is not None
        began = time.monotonic()
        with suppress(BrokenPipeError), self._process.stdin as lines:  # `finish` tells why it ended
            for number in range(self.events):
                event = Event.new(KINDS[number % len(KINDS)], size=number, window=WINDOW)
                lines.write(event.encode().decode() + "\n")
                self._fed += 1
                if number % 100 == 99:
                    lines.flush()
                    time.sleep(max(0.0, began + number / self._pace - time.monotonic()))


@dataclass
class Answers:
    """What was answered: statuses, 0 for none at all; warnings; the slowest answer in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    warned: int = 0
    slowest: float = 0.0


@contextmanager
def asking(deployment: Deployment, clients: int) -> Iterator[Answers]:
    """So many clients ask for the log, one question after the other, while the block lasts."""
    answers, stop, lock = Answers(), threading.Event(), threading.Lock()

    def ask() -> None:
        while not stop.wait(0.01):
            began, warned = time.monotonic(), False
            try:
                warned = "warning" in json.loads(deployment.fetch(f"{BALANCER}/model/etl/log?limit=10"))
                status = 200
            except HTTPError as e:
                status = e.code
            except OSError:
                status = 0
            with lock:
                answers.statuses[status] += 1
                answers.warned += warned
                answers.slowest = max(answers.slowest, time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()
