"""A fleet: processes that share many logs, here in threads."""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
import redis
from etlog_consumer import Consumer, Fleet, Target
from etlog_consumer.fleet import fleet
from etlog_consumer.fleet.fleet import Apply
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_events.contract import VERSION
from etlog_events.errors import OtherContract
from etlog_events.keys import CONSUMERS, CONSUMERS_CONTRACT, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from support.apis import add
from support.consumers import in_threads
from support.samples import saved
from support.servers import wait_until

#: What a process says of processes that follow a newer contract.
NEWER = (
    f"the set of consumer processes follows contract {VERSION + 1}, "
    f"but this etlog-consumer supports {VERSION}; upgrade it"
)

Work = Callable[..., AbstractContextManager[Fleet]]


@pytest.fixture
def logs(client: redis.Redis) -> Iterator[list[str]]:
    """The names of seven logs of this test's own, which are gone after it."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield [f"{prefix}-{number}" for number in range(7)]
    for key in client.scan_iter(match=f"etlog:{{{prefix}*", count=1000):
        client.delete(key)
    client.delete(CONSUMERS, CONSUMERS_CONTRACT)


@contextmanager
def working(url: str, logs: Sequence[str], apply: Apply | None = None) -> Iterator[Fleet]:
    """A process of a fleet while the block lasts."""
    metrics = Metrics()

    def consume(log: str, name: str, stop: threading.Event) -> None:
        with connect(url, part="consumer") as mine:
            target = Target(Keys(log), KUBECOST_KINDS, 1000)
            Consumer(mine, target, retain=1000, name=name, metrics=LogMetrics(metrics, log)).run(stop)

    with connect(url, part="consumer") as client:
        one = Fleet(client, logs, apply or consume, metrics)
        with in_threads(one):
            yield one


def holders(client: redis.Redis, logs: Sequence[str]) -> list[object]:
    """Who holds the lease of each log."""
    return [client.get(Keys(log).lease) for log in logs]


def sizes(client: redis.Redis, logs: Sequence[str], *fleets: Fleet) -> list[int]:
    """How many leases each holds, the fewest first; empty unless all leases are held by these."""
    held = holders(client, logs)
    numbers = [held.count(each.name.encode()) for each in fleets]
    return sorted(numbers) if sum(numbers) == len(logs) else []


def test_processes_share_the_logs_and_take_over_from_one_that_leaves(
    store_url: str, client: redis.Redis, logs: list[str]
) -> None:
    """Each log is applied by one of them, and what comes meanwhile is applied once."""
    with ExitStack() as started:
        one = started.enter_context(working(store_url, logs))
        wait_until(lambda: sizes(client, logs, one) == [7], what="one to have them all")
        assert client.get(CONSUMERS_CONTRACT) == b"%d" % VERSION
        two = started.enter_context(working(store_url, logs))
        with working(store_url, logs) as three:
            wait_until(lambda: sizes(client, logs, one, two, three) == [2, 2, 3], what="fair shares")
            for log in logs:
                add(client, Keys(log), [saved(1), saved(2)])
        wait_until(lambda: sizes(client, logs, one, two) == [3, 4], what="fair shares of those that are left")
        for log in logs:
            add(client, Keys(log), [saved(3)])

        def applied() -> bool:
            return all(client.hget(Keys(log).counters, "AllocationSetSaved") == b"3" for log in logs)

        wait_until(applied, what="all to be applied")
    for log in logs:
        assert client.lrange(Keys(log).log("allocation"), 0, -1) == [saved(1), saved(2), saved(3)]
    assert holders(client, logs) == [None] * 7
    assert not client.exists(CONSUMERS)


def test_one_that_is_dead_is_forgotten(store_url: str, client: redis.Redis, logs: list[str]) -> None:
    """When it has not told for as long as a lease lasts, by the store's clock."""
    with working(store_url, logs) as one:
        name = one._membership.name.replace(one.name, "dead-1-abcd")
        wait_until(lambda: len(one.applies) == 7, what="the share of one")
        seconds, microseconds = client.time()
        client.zadd(CONSUMERS, {name: seconds * 1000 + microseconds // 1000 + 1500})
        wait_until(lambda: len(one.applies) < 7, what="the share of two")
        wait_until(lambda: len(one.applies) == 7, what="the other to be forgotten")
        assert client.zcard(CONSUMERS) == 1
        wait_until(lambda: sizes(client, logs, one) == [7], what="the share of one")
    assert not client.exists(CONSUMERS)


def test_a_clock_that_is_set_back_keeps_no_dead_one_alive(store_url: str, client: redis.Redis, logs: list[str]) -> None:
    """Nobody counts as alive for longer than a lease lasts."""
    with working(store_url, logs) as one:
        wait_until(lambda: len(one.applies) == 7, what="the share of one")
        name = one._membership.name.replace(one.name, "dead-1-abcd")
        client.zadd(CONSUMERS, {name: (client.time()[0] + 3600) * 1000})
        wait_until(lambda: client.zcard(CONSUMERS) == 1, what="the other to be forgotten")
        assert len(one.applies) == 7


def test_processes_with_other_logs_leave_none_out(store_url: str, client: redis.Redis, logs: list[str]) -> None:
    """While the setting changes from one process to the next, the lease decides between two."""
    with working(store_url, logs[:4]) as old, working(store_url, logs[2:]) as new:
        wait_until(lambda: all(holders(client, logs)), what="all logs to be held")
        assert set(holders(client, logs[:2])) == {old.name.encode()}
        assert set(holders(client, logs[4:])) == {new.name.encode()}
        assert set(holders(client, logs)) == {old.name.encode(), new.name.encode()}


def test_a_store_that_forgets_who_is_alive_moves_no_log(
    store_url: str, client: redis.Redis, logs: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As after an outage that outlasts the membership: who comes back first waits for the others."""
    caplog.set_level(logging.INFO, "etlog.consumer")
    with working(store_url, logs) as one, working(store_url, logs) as two:
        wait_until(lambda: sorted([len(one.applies), len(two.applies)]) == [3, 4], what="fair shares")
        caplog.clear()
        client.delete(CONSUMERS)
        wait_until(lambda: client.zcard(CONSUMERS) == 2, what="both to be back")
        assert "Share:" not in caplog.text
    assert not client.exists(CONSUMERS)


def test_a_consumer_that_fails_ends_the_process(store_url: str, client: redis.Redis, logs: list[str]) -> None:
    """As one that applies a single log does; the others take its logs over."""

    def fail(log: str, name: str, stop: threading.Event) -> None:
        if log == logs[3]:
            raise ValueError("a bug in etlog")
        stop.wait()

    with connect(store_url, part="consumer") as mine, pytest.raises(ValueError, match="a bug in etlog"):
        Fleet(mine, logs, fail, Metrics()).run(threading.Event())
    assert not client.exists(CONSUMERS)


def test_a_process_ends_when_the_others_follow_another_contract(
    store_url: str, client: redis.Redis, logs: list[str]
) -> None:
    """It applies nothing, and does not count as alive."""
    client.set(CONSUMERS_CONTRACT, VERSION + 1)

    with connect(store_url, part="consumer") as mine, pytest.raises(OtherContract, match=f"^{NEWER}$"):
        Fleet(mine, logs, lambda *_: None, Metrics()).run(threading.Event())

    assert not client.exists(CONSUMERS)


def test_a_process_that_leaves_says_what_kept_it_in_the_set(
    store_url: str,
    client: redis.Redis,
    logs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The contract was raised since its last look; it counts as alive until its time is up."""
    monkeypatch.setattr(fleet, "LOOK", 60)
    with working(store_url, logs, lambda log, name, stop: None):
        wait_until(lambda: client.exists(CONSUMERS), what="the process to come")
        client.set(CONSUMERS_CONTRACT, VERSION + 1)

    assert caplog.messages == [f"Could not deregister: {NEWER}"]
