"""Every event is accounted for, while four processes emit and the store fails: log + spool = accepted, none twice."""

import json
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer.spool.reader import SegmentReader
from support.emitters import Emitter
from support.proxy import Proxy
from support.servers import Server, wait_until
from support.stream import entries

PROCESSES = 4

#: An outage of a second reaches the spool.
SMALL_INBOX = {"etlog_producer.inbox.INBOX_EVENTS": 400, "etlog_producer.inbox.SPILL_EVENTS": 100}


class Emitters:
    """Four of them, on one log."""

    def __init__(self, url: str, log: str, *, name: str = "stage", closing: float = 20, **options: Any) -> None:
        self.all = [
            Emitter(url, log, f"{name}-{number}", pause=0.003, closing=closing, constants=SMALL_INBOX, **options)
            for number in range(PROCESSES)
        ]

    def go_on(self, events: int = 300) -> None:
        """Wait until each has emitted so many more."""
        goals = [emitter.emitted + events for emitter in self.all]
        wait_until(
            lambda: all(emitter.emitted >= goal for emitter, goal in zip(self.all, goals, strict=True)),
            what="the stages to go on",
        )

    def end(self) -> set[str]:
        """Stop them. Returns the markers of all events that they accepted."""
        for emitter in self.all:
            emitter.stop()
        for emitter in self.all:
            emitter.wait()
        return {f"{emitter.name}/{n}" for emitter in self.all for n in range(1, emitter.emitted + 1)}

    def total(self, name: str) -> int:
        """Sum of one of their books."""
        return sum(emitter.books[name] for emitter in self.all)


def marker(metadata: dict[str, Any]) -> str:
    """Which event of which stage it is."""
    return f"{metadata['stage']}/{metadata['size']}"


def in_log(client: redis.Redis, keys: Keys) -> list[str]:
    """The markers in the log. Each producer's numbers must rise, and its events follow in the order of their emits."""
    last: dict[str, tuple[int, int]] = {}
    markers = []
    for entry in entries(client, keys):
        place = entry.seq, entry.metadata["size"]
        before = last.get(entry.producer, (0, -1))
        assert before[0] < place[0]
        assert before[1] < place[1]
        last[entry.producer] = place
        markers.append(marker(entry.metadata))
    return markers


def in_spool(folder: Path) -> set[str]:
    """The markers in the spool."""
    markers = set()
    for path in folder.rglob("*.spool"):
        reader = SegmentReader(path)
        while line := reader.next():
            markers.add(marker(json.loads(line.event)["metadata"]))
        reader.close()
    return markers


def check(accepted: set[str], emitters: Emitters, url: str, keys: Keys, spool: Path) -> None:
    """The equation, event by event."""
    with connect(url, part="test") as client:
        found = in_log(client, keys)
    assert len(found) == len(set(found)), "an event is in the log twice"
    kept = in_spool(spool)
    assert accepted - set(found) - kept == set()
    assert set(found) - accepted == set()
    assert emitters.total("lost") == 0
    assert emitters.total("dropped") == 0
    for emitter in emitters.all:
        books = emitter.books
        assert books["emitted"] == books["accepted"] == books["delivered"] + books["waiting"] + books["spooled"]
    assert emitters.total("delivered") == len(found)


@pytest.fixture
def keys() -> Keys:
    """On a server of the test's own any log is empty."""
    return Keys("accounts")


Chaos = Callable[[Server, Emitters], None]


def killed(server: Server, emitters: Emitters) -> None:
    """SIGKILL, over and over: what was not on disk yet is gone."""
    for _ in range(5):
        emitters.go_on(200)
        server.kill()
        emitters.go_on(100)
        server.start()


def stopped(server: Server, emitters: Emitters) -> None:
    """SIGSTOP: connected, but it never answers."""
    for _ in range(2):
        server.stop()
        emitters.go_on(600)
        server.resume()
        emitters.go_on(100)


def restarted(server: Server, emitters: Emitters) -> None:
    """SIGTERM, as an administrator does it."""
    for _ in range(3):
        server.process.terminate()
        server.process.wait()
        emitters.go_on(600)
        server.start()
        emitters.go_on(100)


def filled(server: Server, emitters: Emitters) -> None:
    """Out of memory."""
    with connect(server.url, part="test") as client:
        for _ in range(2):
            client.config_set("maxmemory", "1")
            emitters.go_on(600)
            client.config_set("maxmemory", "0")
            emitters.go_on(100)


@pytest.mark.parametrize("chaos", [killed, stopped, restarted, filled])
def test_a_store_that_fails_loses_and_doubles_nothing(
    server: Server, keys: Keys, spool_dir: Path, chaos: Chaos
) -> None:
    """Four processes emit all the while."""
    emitters = Emitters(server.url, keys.name)
    emitters.go_on()

    chaos(server, emitters)

    emitters.go_on(100)
    accepted = emitters.end()
    check(accepted, emitters, server.url, keys, spool_dir)
    assert in_spool(spool_dir) == set()


def test_a_network_that_swallows_replies_loses_and_doubles_nothing(server: Server, keys: Keys, spool_dir: Path) -> None:
    """The store has the batches, the producers do not know."""
    with closing(Proxy(server.port)) as proxy:
        emitters = Emitters(proxy.url, keys.name)
        emitters.go_on()
        for _ in range(4):
            proxy.swallow_replies(True)
            wait_until(partial(lambda before: proxy.swallowed > before, proxy.swallowed), what="a reply to get lost")
            emitters.go_on(100)
            proxy.cut()
            proxy.swallow_replies(False)
            emitters.go_on(200)
        accepted = emitters.end()
    check(accepted, emitters, server.url, keys, spool_dir)


def test_a_replica_promoted_without_the_last_writes_loses_and_doubles_nothing(
    server: Server, replica: Server, keys: Keys, spool_dir: Path
) -> None:
    """What the old primary took meanwhile is sent again to the new one."""
    with closing(Proxy(server.port)) as proxy, connect(replica.url, part="test") as promoted:
        emitters = Emitters(proxy.url, keys.name)
        emitters.go_on()
        promoted.replicaof("NO", "ONE")
        emitters.go_on(300)
        with connect(server.url, part="test") as old:
            assert int(old.xlen(keys.events)) > int(promoted.xlen(keys.events)), "the old primary has what is missing"
        server.stop()
        proxy.lead_to(replica.port)
        emitters.go_on(300)
        accepted = emitters.end()
    check(accepted, emitters, replica.url, keys, spool_dir)


def test_a_store_that_stays_away_leaves_everything_in_the_spool(server: Server, keys: Keys, spool_dir: Path) -> None:
    """Later producers send it, under the ids of the four that are gone."""
    emitters = Emitters(server.url, keys.name, closing=0.2)
    emitters.go_on()
    server.kill()
    emitters.go_on(600)
    accepted = emitters.end()
    kept = in_spool(spool_dir)
    assert kept
    assert emitters.total("spooled") > 0

    server.start()
    later = Emitters(server.url, keys.name, name="later")
    wait_until(lambda: not list(spool_dir.rglob("*.spool")), what="the spool to be sent")
    accepted_later = later.end()

    with connect(server.url, part="test") as client:
        found = [marker(entry.metadata) for entry in entries(client, keys)]
    assert accepted | accepted_later == set(found)


def test_a_stage_killed_by_sigkill_loses_nothing_if_durable(server: Server, keys: Keys, spool_dir: Path) -> None:
    """While the store is away as well: what `emit` returned for is in a file."""
    emitters = Emitters(server.url, keys.name, durable=True)
    emitters.go_on()
    server.kill()
    emitters.go_on(600)
    reported = {e.name: e.emitted for e in emitters.all}
    for emitter in emitters.all:
        emitter.kill()
    server.start()

    with connect(server.url, part="test") as client:
        later = Emitters(server.url, keys.name, name="later")
        wait_until(lambda: len(list(spool_dir.rglob("*.spool"))) == 0, what="the spool to be sent")
        later.end()
        markers = [marker(entry.metadata) for entry in entries(client, keys)]
    for name, count in reported.items():
        own = [int(marker.split("/")[1]) for marker in markers if marker.startswith(name + "/")]
        assert set(range(1, count + 1)) <= set(own)
