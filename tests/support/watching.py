"""Logs that are watched: sets that come, fail and stay away as a test says, and what a receiver was told of them."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer
from support.commands import Command, running
from support.receivers import Received, Receiver, receiving
from support.servers import wait_until

#: Seconds. Problems are collected for half a minute, a watcher that died holds its place for 12 s, machines are busy.
PATIENCE = 120.0

HOUR = timedelta(hours=1)

#: The stages of each category, in order.
STAGES = {"Asset": ("Loaded", "Saved"), "Allocation": ("Loaded", "Saved", "Reconciled")}

_LAUNCHER = Path(__file__).with_name("run_watch.py")


class Pipeline:
    """A pipeline of `STAGES` that publishes to a log. So many `sets` have come when it is made, each `every` long.

    The newest one has just ended, so that no other one is due before it has come, too. A set is known by its place: 0
    is the oldest. `left_out` are stages of sets that do not come, by kind and place.
    """

    def __init__(
        self,
        url: str,
        log: str,
        folder: Path,
        *,
        every: timedelta = HOUR,
        sets: int = 48,
        left_out: Callable[[str, int], bool] = lambda kind, place: False,
    ) -> None:
        self.come = sets
        self.every = every
        self.left_out = left_out
        ended = datetime.now(UTC).replace(second=0, microsecond=0) - min(timedelta(minutes=3), every / 20)
        self._first = ended - every * sets
        self._url, self._log = url, log
        self._producer = Producer(url, log=log, spool_dir=folder)
        for place in range(sets):
            self._come(place)
        self.flush()

    def window(self, place: int) -> tuple[str, str]:
        """The window of a set."""
        start = self._first + self.every * place
        return spelled(start), spelled(start + self.every)

    def emit(self, kind: str, place: int, error: str | None = None) -> None:
        """Publish an event of a set now."""
        self._producer.emit(kind, size=None if error else 97, window=self.window(place), error=error)
        self.flush()

    def go_on(self) -> None:
        """Publish the sets that are ready by now."""
        while datetime.now(UTC) >= self._first + self.every * (self.come + 1) + timedelta(seconds=2):
            self._come(self.come)
            self.come += 1

    def flush(self) -> None:
        """Wait until everything is in the store."""
        assert self._producer.flush(30)

    def wait_until(self, condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> None:
        """Wait for a condition while sets go on to come."""

        def met() -> Any:
            self.go_on()
            return condition()

        wait_until(met, timeout, what)

    def wait_until_applied(self) -> None:
        """Wait until a consumer has applied everything."""
        with connect(self._url, part="test") as client:
            keys = Keys(self._log)

            def applied() -> bool:
                entry: Any = client.xrevrange(keys.events, count=1)
                return bool(entry) and client.get(keys.cursor) == entry[0][0]

            wait_until(applied, PATIENCE, "the consumer to catch up")

    def close(self) -> None:
        """End it."""
        self._producer.close()

    def _come(self, place: int) -> None:
        end = self._first + self.every * (place + 1)
        for prefix, stages in STAGES.items():
            for number, stage in enumerate(stages):
                kind = f"{prefix}Set{stage}"
                if not self.left_out(kind, place):
                    done = min(end + timedelta(seconds=1 + number + place * 7 % 13), datetime.now(UTC))
                    self._producer.emit(kind, size=97, window=self.window(place), time=spelled(done))


@contextmanager
def pipeline(url: str, log: str, folder: Path, **options: Any) -> Iterator[Pipeline]:
    """A pipeline that publishes while the block lasts."""
    made = Pipeline(url, log, folder, **options)
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True)
class Told:
    """What a message said: an opening, an end and so on of these problems."""

    id: str
    happened: str
    problems: Sequence[Mapping[str, Any]]
    copies: Sequence[Received]

    @property
    def ids(self) -> set[str]:
        """The ids of its problems, each of which it names once."""
        found = {str(problem["id"]) for problem in self.problems}
        assert len(found) == len(self.problems)
        return found

    @property
    def states(self) -> list[str]:
        """The states of its problems."""
        return sorted(problem["state"] for problem in self.problems)


def told(receiver: Receiver) -> list[Told]:
    """The messages that a receiver got, by when each came first. One that came again said the same."""
    copies: dict[str, list[Received]] = {}
    for received in list(receiver.received):
        copies.setdefault(received.id, []).append(received)
    found = []
    for name, of_one in copies.items():
        assert len({received.body for received in of_one}) == 1, f"{name} said different things"
        body = of_one[0].json
        found.append(Told(name, body["type"].removeprefix("etlog.problem."), body["data"]["problems"], of_one))
    return found


def happened(receiver: Receiver) -> list[str]:
    """What happened, by the messages that a receiver got, oldest first."""
    return [message.happened for message in told(receiver)]


def outbox(url: str, log: str) -> int:
    """How many messages of a log wait to be sent, or to be noted as sent."""
    with connect(url, part="test") as client:
        fields: list[bytes] = client.hkeys(Keys(log).incidents)
        return sum(name.startswith(b"message:") for name in fields)


def notify(receiver: Receiver, **keys: str) -> str:
    """The table of the configuration that tells a receiver."""
    values = {"url": f"{receiver.url}/etlog", **keys}
    return "\n".join(["[[notify]]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""])


def configured(file: Path, *tables: str) -> Path:
    """The file with this configuration."""
    file.write_text("\n".join(["version = 1", *tables]))
    return file


class Watcher(Command):
    """`etlog watch` at work, with shorter `constants` if there are any."""

    def __init__(self, config: Path, constants: Mapping[str, float] | None = None, **settings: Any) -> None:
        line = [sys.executable, str(_LAUNCHER), json.dumps(constants)] if constants else None
        super().__init__("watch", line=line, config=str(config), **settings)

    @property
    def tells(self) -> bool:
        """Whether it is the one that tells, by what it says."""
        return self.shown.rfind("Watching log") > self.shown.rfind("Standing by")


def teller(watchers: Sequence[Watcher]) -> Watcher:
    """The one that tells."""
    wait_until(lambda: any(one.tells for one in watchers), PATIENCE, "one to tell")
    return next(one for one in watchers if one.tells)


@dataclass(frozen=True)
class Watched:
    """A log that a consumer applies, with a receiver of its own, whose messages are signed with `secret`.

    `start` starts a watcher of it, one of as many as the test likes.
    """

    receiver: Receiver
    secret: str
    stages: Pipeline
    start: Callable[[], Watcher]


@contextmanager
def watched(url: str, log: str, folder: Path, constants: Mapping[str, float] | None) -> Iterator[Watched]:
    """The log `log` while the block lasts; `constants` are those of its watchers."""
    secret = "the secret of a target"
    with ExitStack() as going:
        receiver = going.enter_context(receiving())
        config = configured(folder / f"{log}.toml", notify(receiver, secret=secret))

        def start() -> Watcher:
            started = Watcher(config, constants, redis_url=url, name=log)
            going.callback(started.close)
            return started

        going.enter_context(running("consume", redis_url=url, name=log))
        stages = going.enter_context(pipeline(url, log, folder))
        stages.wait_until_applied()
        yield Watched(receiver, secret, stages, start)


def answered(write: Callable[[bytes], object]) -> None:
    """Answer that a message was taken."""
    write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def spelled(moment: datetime) -> str:
    """As everywhere, to a second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
