"""A watcher that dies at any moment, or loses an answer: what it was to tell is told, under one id each."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events.config import Config, Notify
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_watch.message import Message
from etlog_watch.metrics import Metrics
from etlog_watch.sender import SENT, Outcome
from etlog_watch.target import Target
from etlog_watch.watch import LogWatch
from redis.asyncio.connection import AbstractConnection
from support.apis import apply

HOUR = timedelta(hours=1)
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


class Killed(BaseException):
    """The process is gone: nothing of it runs any more."""


@dataclass
class Life:
    """Counts the steps of watchers that someone else can see. The step `dies_at` is the last of a watcher: it dies
    before it, or `after` it, without an answer."""

    dies_at: int
    after: bool
    steps: int = 0

    def begin(self) -> None:
        """A step begins."""
        self.steps += 1
        if self.steps == self.dies_at and not self.after:
            raise Killed

    def end(self) -> None:
        """It has had its effect."""
        if self.steps == self.dies_at and self.after:
            self.steps += 1
            raise Killed


@dataclass
class Receiver:
    """A target that takes everything."""

    life: Life
    received: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> Outcome:
        """Note it."""
        self.life.begin()
        self.received.append(message)
        self.life.end()
        return SENT

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Night:
    """A log and its watchers, one after the other; each look is ten seconds after the last one."""

    settings: Settings
    client: redis.Redis
    receiver: Receiver
    now: datetime = NOON + 30 * timedelta(minutes=1)
    deaths: int = 0

    def clock(self, _: tzinfo | None) -> datetime:
        """What time it is."""
        return self.now

    def watcher(self) -> LogWatch:
        """A new process."""
        notify = Notify("https://hooks.example.com/etlog")
        targets = [Target(0, notify, self.receiver, UTC)]
        return LogWatch(self.settings, Config(), self.settings.name, targets, f"w{self.deaths}", self.clock, Metrics())

    async def look(self, times: int, watcher: LogWatch) -> LogWatch:
        """Look so many times, by this watcher or, if it dies, by the next one."""
        for _ in range(times):
            self.now += timedelta(seconds=11)  # more than a step of the verdict
            try:
                await watcher.turn()
                await watcher.teller.settled(10)
            except Killed:
                self.deaths += 1
                await watcher.close()  # as the system does it
                self.client.hdel(self.settings.keys.incidents, "watcher")  # its place is free after some seconds
                watcher = self.watcher()
        return watcher


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[Life], None]:
    """Every command to the store is a step of a life."""

    def see(life: Life) -> None:
        def stepping(of: Callable[..., Any]) -> Callable[..., Any]:
            async def send(self: Any, command: Any, check_health: bool = True) -> None:
                life.begin()
                await of(self, command, check_health=check_health)
                if life.after and life.steps == life.dies_at:
                    await self.read_response(disconnect_on_error=False)  # it had its effect
                life.end()

            return send

        monkeypatch.setattr(AbstractConnection, "send_packed_command", stepping(original))

    original = AbstractConnection.send_packed_command
    return see


def hours(*missing: int) -> Sequence[Event]:
    """Two days of hours that were saved, without these before noon."""
    events = []
    for back in (number for number in range(48, 0, -1) if number not in missing):
        start = NOON - back * HOUR
        window = start, start + HOUR
        events.append(Event.new("AssetSetSaved", size=97, window=window, time=start + HOUR + timedelta(seconds=40)))
    return events


class Log:
    """A log in two states, in which it is put at once: with a hole and a lost event, and once both are repaired."""

    def __init__(self, url: str, keys: Keys, client: redis.Redis) -> None:
        self._client = client
        self._pattern = f"etlog:{{{keys.name}}}:*"
        apply(url, keys, [event.encode() for event in hours(5)])
        client.hset(keys.stats, "lost", 1)
        self.broken = self._dumped()
        apply(url, keys, [event.encode() for event in hours() if event not in hours(5)])
        client.hdel(keys.stats, "lost")
        self.whole = self._dumped()

    def put(self, state: Mapping[bytes, bytes]) -> None:
        """Put the log in a state; its incidents stay."""
        for name, dump in state.items():
            self._client.restore(name, 0, dump, replace=True)

    def begin(self, keys: Keys) -> None:
        """Nothing was told yet."""
        self._client.delete(keys.incidents)
        self.put(self.broken)

    def _dumped(self) -> dict[bytes, bytes]:
        return {bytes(name): self._client.dump(name) for name in self._client.keys(self._pattern)}  # type: ignore[arg-type,misc]


def told(log: Log, settings: Settings, client: redis.Redis, see: Callable[[Life], None], life: Life) -> Night:
    """A night with a hole that is repaired, as a watcher and those after it see it."""
    log.begin(settings.keys)
    night = Night(settings, client, Receiver(life))

    async def run() -> None:
        watcher = await night.look(6, night.watcher())
        log.put(log.whole)
        await (await night.look(10, watcher)).close()

    see(life)
    asyncio.run(run())
    return night


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_watcher_may_die_at_every_step(
    store_url: str, keys: Keys, client: redis.Redis, tmp_path: Path, seen: Callable[[Life], None], after: bool
) -> None:
    """Each message comes under one id, however often it is sent; of each problem one says that it opened, one that it
    ended, and nothing is left behind."""
    settings = Settings.from_environment(
        {"ETLOG_REDIS_URL": store_url, "ETLOG_NAME": keys.name, "ETLOG_SPOOL_DIR": str(tmp_path)}
    )
    log = Log(store_url, keys, client)

    for step in count(1):
        night = told(log, settings, client, seen, Life(step, after))
        if not night.deaths:  # it made all its steps before
            assert step > 80
            break

        received = {message.id: message for message in night.receiver.received}
        assert Counter(message.happened for message in received.values()) == {"opened": 1, "resolved": 1}, step
        opened, resolved = received.values()
        assert {problem.state for problem in opened.problems} >= {"missing", "lost"}, step
        assert {problem.id for problem in resolved.problems} == {
            problem.id for problem in opened.problems if problem.state != "store"
        }, step
        names = [bytes(name) for name in client.hkeys(keys.incidents)]  # type: ignore[arg-type]
        assert not [name for name in names if name.startswith(b"message:")], step
