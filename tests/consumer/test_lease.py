"""The lease: one consumer is active, another one takes over soon after it is gone."""

from collections.abc import Callable

import pytest
import redis
from etlog_consumer.lease import DURATION, RENEW_AFTER, Lease
from etlog_events.keys import Keys
from support.fakes import Clock
from support.servers import wait_until


@pytest.fixture
def lease(client: redis.Redis, keys: Keys, clock: Clock) -> Callable[[str], Lease]:
    """Leases on the test's log, by the name of the consumer."""
    return lambda name: Lease(client, keys, name, clock)


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


def test_a_lease_that_would_not_end_is_taken_over(client: redis.Redis, keys: Keys) -> None:
    """The store's clock was set back while somebody held it, or the key was set by hand."""
    far, endless = keys, Keys(f"{keys.name}-2")
    client.set(far.lease, "gone", px=3_600_000)
    client.set(endless.lease, "gone")
    waiting = {log: Lease(client, log, "next") for log in (far, endless)}
    assert not any(lease.hold() for lease in waiting.values())

    for log, lease in waiting.items():
        wait_until(lease.hold, timeout=6, what=f"{log.lease} to be taken over")
        lease.release()
