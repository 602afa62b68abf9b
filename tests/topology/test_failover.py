"""A primary is lost under load, sentinels promote a replica, and all parts go on there."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from etlog.verify import verify
from etlog_events.keys import Keys
from etlog_events.store import connect
from servers import wait_until
from stream import stats
from topology.parts import AFTER, SOON, Parts, numbers_of, times_until
from topology.replicated import Replicated

KEYS = Keys("failover")


@pytest.fixture
def store() -> Iterator[Replicated]:
    """A primary with two replicas."""
    with closing(Replicated(2)) as store:
        yield store


def test_nothing_that_a_replica_has_acknowledged_is_lost(store: Replicated) -> None:
    """Not even of a stage that dies with the primary; and every part finds the new one by itself, in time."""
    with closing(Parts(store.url, KEYS.name)) as parts:
        staying, dying = parts.stage("staying", acks="replica"), parts.stage("dying", acks="replica")
        parts.wait(staying, dying)
        store.settle()

        store.primary.kill()
        acknowledged = dying.kill()
        goal = staying.emitted + AFTER
        times = times_until(
            failover=store.promoted,
            producer=lambda: staying.acknowledged >= goal,
            api=lambda: parts.answered("staying") >= goal,
            live=lambda: parts.followed("staying") >= goal,
        )
        emitted = staying.end()
        new = store.promoted()
        assert new is not None
        with connect(new.url, part="test") as client:
            assert numbers_of(client, KEYS, "staying") == list(range(1, emitted + 1))
            dead_stage = numbers_of(client, KEYS, "dying")
            assert dead_stage == list(range(1, len(dead_stage) + 1))
            assert len(dead_stage) >= acknowledged
            total = emitted + len(dead_stage)
            wait_until(lambda: stats(client, KEYS) == {"applied": total}, what="all to be applied, once")
            assert verify(client, KEYS).faults == []

    assert {part: seconds for part, seconds in times.items() if seconds > times["failover"] + SOON} == {}


def test_what_is_lost_without_acknowledgement_is_counted(store: Replicated) -> None:
    """The primary hangs, and what it took last is on no replica. A stage sends it again if it still has it; of one
    that has not, the log counts what is missing."""
    with closing(Parts(store.url, KEYS.name)) as parts:
        keeping, forgetting = parts.stage("keeping"), parts.stage("forgetting", keep=0)
        parts.wait(keeping, forgetting)
        store.settle()

        store.cut_replication()
        keeping.go_on(50)
        forgetting.go_on(50)
        store.primary.stop()
        goal = keeping.emitted + AFTER
        times = times_until(
            failover=store.promoted,
            producer=lambda: keeping.acknowledged >= goal,
            api=lambda: parts.answered("keeping") >= goal,
            live=lambda: parts.followed("keeping") >= goal,
        )
        store.primary.resume()
        emitted = keeping.end(), forgetting.end()
        new = store.promoted()
        assert new is not None
        with connect(new.url, part="test") as client:
            assert numbers_of(client, KEYS, "keeping") == list(range(1, emitted[0] + 1))
            kept = numbers_of(client, KEYS, "forgetting")
            assert kept == sorted(set(kept))
            lost = emitted[1] - len(kept)
            assert lost > 0
            applied = emitted[0] + len(kept)
            wait_until(lambda: stats(client, KEYS) == {"applied": applied, "lost": lost}, what="the books to be right")
            assert verify(client, KEYS).faults == []

    assert {part: seconds for part, seconds in times.items() if seconds > times["failover"] + SOON} == {}
