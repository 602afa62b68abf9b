"""The lease: one consumer is active, another one takes over soon after it is gone."""

import signal
import time
from collections.abc import Callable

import pytest
import redis
from etlog_consumer.lease import DURATION, RENEW_AFTER, Lease
from etlog_events.keys import Keys
from support.consumers import Process, Publish, StartConsumer
from support.samples import saved
from support.servers import wait_until
from support.stream import counters


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def lease(client: redis.Redis, keys: Keys, clock: Clock) -> Callable[[str], Lease]:
    """Leases on the test's log, by the name of the consumer."""
    return lambda name: Lease(client, keys.lease, name, clock)


def test_the_first_one_holds_the_lease(client: redis.Redis, keys: Keys, lease: Callable[[str], Lease]) -> None:
    """The store tells who it is, and for how long."""
    assert lease("a").hold()

    assert client.get(keys.lease) == b"a"
    assert 0 < client.pttl(keys.lease) <= DURATION * 1000


def test_nobody_else_gets_it(lease: Callable[[str], Lease]) -> None:
    """As long as it lasts."""
    first, second = lease("a"), lease("b")
    assert first.hold()

    assert not second.hold()
    assert first.hold()
    assert not second.hold()


def test_a_released_lease_is_free(lease: Callable[[str], Lease]) -> None:
    """The next one gets it at once."""
    first, second = lease("a"), lease("b")
    assert first.hold()

    first.release()

    assert second.hold()
    assert not first.hold()


def test_an_expired_lease_is_free(client: redis.Redis, keys: Keys, lease: Callable[[str], Lease]) -> None:
    """Its holder died without a word."""
    first, second = lease("a"), lease("b")
    assert first.hold()
    client.pexpire(keys.lease, 1)
    wait_until(lambda: not client.exists(keys.lease), what="the lease to expire")

    assert second.hold()


def test_a_holder_renews_it_in_time(
    client: redis.Redis, keys: Keys, lease: Callable[[str], Lease], clock: Clock
) -> None:
    """Not at every turn, and long before it ends."""
    mine = lease("a")
    assert mine.hold()
    client.pexpire(keys.lease, 2000)

    clock.now += RENEW_AFTER / 2
    assert mine.hold()
    assert client.pttl(keys.lease) <= 2000

    clock.now += RENEW_AFTER / 2
    assert mine.hold()
    assert client.pttl(keys.lease) > 2000
    assert 2 * RENEW_AFTER < DURATION


def test_a_holder_that_slept_notices_that_it_lost_the_lease(
    client: redis.Redis, keys: Keys, lease: Callable[[str], Lease], clock: Clock
) -> None:
    """Another one was active meanwhile."""
    first, second = lease("a"), lease("b")
    assert first.hold()
    client.delete(keys.lease)
    assert second.hold()

    clock.now += DURATION

    assert not first.hold()


def test_a_holder_in_doubt_asks(client: redis.Redis, keys: Keys, lease: Callable[[str], Lease]) -> None:
    """It saw another one at work."""
    first, second = lease("a"), lease("b")
    assert first.hold()
    client.delete(keys.lease)
    assert second.hold()

    first.doubt()

    assert not first.hold()


def test_a_lease_that_is_not_held_is_not_released(
    client: redis.Redis, keys: Keys, lease: Callable[[str], Lease]
) -> None:
    """Neither one that was never held nor one that another consumer took since."""
    first, second = lease("a"), lease("b")
    assert first.hold()
    client.delete(keys.lease)
    assert second.hold()
    assert not lease("c").hold()

    first.release()
    lease("c").release()

    assert client.get(keys.lease) == b"b"


def test_one_that_comes_back_under_its_name_need_not_wait(lease: Callable[[str], Lease]) -> None:
    """A container that was killed and started again."""
    assert lease("a").hold()

    assert lease("a").hold()


@pytest.mark.timed
def test_a_standby_takes_over_at_once_after_a_clean_stop(
    client: redis.Redis, keys: Keys, publish: Publish, start_consumer: StartConsumer
) -> None:
    """The one that stops releases the lease."""
    active, _ = _active_and_standby(client, keys, start_consumer)

    active.send_signal(signal.SIGTERM)
    assert active.wait(10) == 0
    stopped = time.monotonic()
    publish([saved()])
    wait_until(lambda: counters(client, keys), what="the standby to take over")

    assert time.monotonic() - stopped < 1
    assert client.get(keys.lease) == b"second"


@pytest.mark.timed
def test_a_standby_takes_over_from_a_killed_one_before_anyone_waits_long(
    client: redis.Redis, keys: Keys, publish: Publish, start_consumer: StartConsumer
) -> None:
    """As soon as its lease has expired."""
    active, _ = _active_and_standby(client, keys, start_consumer)

    active.kill()
    killed = time.monotonic()
    publish([saved()])
    wait_until(lambda: counters(client, keys), what="the standby to take over")

    assert time.monotonic() - killed < 6
    assert client.get(keys.lease) == b"second"


def test_one_that_hung_does_no_harm_when_it_wakes(
    client: redis.Redis, keys: Keys, publish: Publish, start_consumer: StartConsumer
) -> None:
    """Stopped in the middle of its work, it comes back to a log that another one has carried on."""
    active, _ = _active_and_standby(client, keys, start_consumer)
    publish([saved(size) for size in range(3000)])
    active.send_signal(signal.SIGSTOP)
    client.delete(keys.lease)
    publish([saved(size) for size in range(3000)])
    wait_until(lambda: counters(client, keys) == {"AllocationSetSaved": 6000}, what="the standby to take over")

    active.send_signal(signal.SIGCONT)
    publish([saved(size) for size in range(500)])

    wait_until(lambda: counters(client, keys) == {"AllocationSetSaved": 6500}, what="all to be applied")
    active.send_signal(signal.SIGTERM)
    assert active.wait(10) == 0
    assert counters(client, keys) == {"AllocationSetSaved": 6500}
    assert client.get(keys.lease) == b"second"


def _active_and_standby(client: redis.Redis, keys: Keys, start_consumer: StartConsumer) -> tuple[Process, Process]:
    active = start_consumer("--name", "first")
    wait_until(lambda: client.get(keys.lease) == b"first", what="the first consumer to become active")
    others = _consumers(client)
    standby = start_consumer("--name", "second")
    wait_until(lambda: _consumers(client) > others, what="the second consumer to stand by")
    return active, standby


def _consumers(client: redis.Redis) -> int:
    return sum(connection["name"] == "etlog-consumer" for connection in client.client_list())


def test_a_lease_that_would_not_end_is_taken_over(client: redis.Redis, keys: Keys) -> None:
    """The store's clock was set back while somebody held it, or the key was set by hand."""
    far, endless = keys.lease, keys.lease + ":2"
    client.set(far, "gone", px=3_600_000)
    client.set(endless, "gone")
    waiting = {key: Lease(client, key, "next") for key in (far, endless)}

    for key, lease in waiting.items():
        wait_until(lease.hold, timeout=6, what=f"{key} to be taken over")
