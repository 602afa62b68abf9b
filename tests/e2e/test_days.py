"""Days and weeks between an event and what comes after it: what was delivered is still known, and counted once."""

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog.__main__ import run
from etlog.verification import verify
from etlog_consumer.recovery import Progress, Recovery
from etlog_events.keys import Keys
from etlog_events.sequence import REMEMBERED, Record
from etlog_producer import Producer
from etlog_producer.publish import Publisher
from etlog_producer.spool import recovery
from support import commands
from support.consumers import CaughtUp, Consuming
from support.producers import emit
from support.samples import WINDOW, saved
from support.servers import PATIENCE, wait_until
from support.stream import counters, records

#: Delivers 100 events and tells so; the arguments are the address of the store, the log, and the producer's options.
STAGE = f"""
import sys
from etlog_producer import Producer
producer = Producer(sys.argv[1], log=sys.argv[2], durable=sys.argv[3] == "durable")
for size in range(100):
    producer.emit("AllocationSetSaved", size=size, window={WINDOW!r})
assert producer.flush(30)
print("delivered", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared server does not forget."""
    monkeypatch.setattr(recovery, "SETTLE", 0.05)


@pytest.fixture
def weeks_pass(client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp) -> Callable[[], None]:
    """All is applied, and then nothing comes for almost as long as the store remembers who has not closed."""

    def pass_by() -> None:
        with consuming():
            caught_up()
        before = records(client, keys)
        assert before
        for name, record in before.items():
            aged = record.seen - int((REMEMBERED - 3600) * 1000)
            client.hset(keys.producers, name, Record(*record)._replace(seen=aged).encode())
            client.zadd(keys.producers_seen, {name: aged})
        progress, looking = Progress(), Recovery(client, keys, retain=1000)
        looking.load(progress)
        looking.look(progress)
        assert records(client, keys).keys() == before.keys()

    return pass_by


@pytest.fixture
def holds(client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp) -> Callable[[int], None]:
    """Whether so many events were applied, and none is lost."""

    def check(events: int) -> None:
        with consuming():
            caught_up()
        assert sum(counters(client, keys).values()) == events
        found = verify(client, keys)
        assert (found.faults, found.total.lost, found.duplicates) == ([], 0, 0)

    return check


@pytest.mark.parametrize("how", ["durable", "plain"])
def test_a_stage_that_was_killed_or_stopped_for_weeks_is_counted_once(
    store_url: str,
    keys: Keys,
    client: redis.Redis,
    weeks_pass: Callable[[], None],
    holds: Callable[[int], None],
    how: str,
) -> None:
    """Its file is adopted by the next one; or it wakes up and looks whether the store has its tail."""
    command = [sys.executable, "-c", STAGE, store_url, keys.name, how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stage:
        assert stage.stdout is not None
        assert stage.stdout.readline() == b"delivered\n"
        stage.send_signal(signal.SIGKILL if how == "durable" else signal.SIGSTOP)
        weeks_pass()
        if how == "plain":
            before = _calls(client)
            stage.send_signal(signal.SIGCONT)
            wait_until(lambda: _calls(client) > before, what="it to ask the store")
            stage.kill()
    with Producer(store_url, log=keys.name) as following:
        following.emit("AllocationSetSaved", size=100, window=WINDOW)

    holds(101)


def test_what_waited_in_the_spool_for_weeks_follows_on(
    store_url: str,
    keys: Keys,
    weeks_pass: Callable[[], None],
    holds: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind what the same producer had delivered before: that is not lost."""

    def away(*_: Any, **__: Any) -> Any:
        raise redis.ConnectionError("away")

    producer = Producer(store_url, log=keys.name)
    emit(producer, *range(100))
    assert producer.flush(PATIENCE)
    with monkeypatch.context() as outage:
        outage.setattr(Publisher, "__call__", away)
        emit(producer, *range(50))
        producer.close(0)
    assert producer.stats().spooled == 50
    weeks_pass()

    assert run(["spool", "flush", "--redis-url", store_url, "--log", keys.name]) == 0

    holds(150)


def test_a_file_is_resumed_after_weeks(
    store_url: str,
    keys: Keys,
    client: redis.Redis,
    tmp_path: Any,
    weeks_pass: Callable[[], None],
    holds: Callable[[int], None],
) -> None:
    """From before what the log has of it, and without doubling."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join(saved(size) for size in range(30_000)))
    command = ["emit", "--file", str(file), "--redis-url", store_url, "--log", keys.name]
    with commands.running(*command) as emitting:
        wait_until(lambda: int(client.hget(keys.stats, "published") or 0) > 12_000, what="some events")
        emitting.stop(signal.SIGKILL)
    weeks_pass()

    assert run([*command, "--resume"]) == 0

    holds(30_000)


def _calls(client: redis.Redis) -> int:
    """How often the function that publishes was called."""
    return int(client.info("commandstats")["cmdstat_fcall"]["calls"])
