"""A primary hangs under load, sentinels promote a replica without its last events, and all parts go on there."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.consumers import catch_up
from support.replicated import Replicated
from support.stream import stats
from topology.processes import AFTER, SOON, Processes, numbers_of, times_until

pytestmark = pytest.mark.timed

KEYS = Keys("failover")

#: What has been delivered cannot be sent again.
KEEP_NOTHING = {"etlog_producer.unacked.KEEP_SECONDS": 0}


@dataclass(frozen=True)
class Outcome:
    """What came of it: by stage, how many events it emitted or was acknowledged, and the numbers in the log; the
    seconds until each process was at work again; the stats of the log, and its faults."""

    emitted: dict[str, int]
    acknowledged: int
    found: dict[str, list[int]]
    times: dict[str, float]
    stats: dict[str, int]
    faults: list[str]


@pytest.fixture(scope="module")
def outcome() -> Iterator[Outcome]:
    """Two stages wait for a replica's acknowledgement, two do not. Of the first, one dies with the primary; of the
    others, one keeps nothing that it could send again."""
    with closing(Replicated(2)) as store, closing(Processes(store.url, KEYS.name)) as processes:
        staying, dying = processes.stage("staying", acks="replica"), processes.stage("dying", acks="replica")
        keeping, forgetting = (
            processes.stage("keeping"),
            processes.stage("forgetting", constants=KEEP_NOTHING),
        )
        stages = staying, keeping, forgetting
        processes.wait(*stages, dying)
        store.settle()

        store.cut_replication()
        keeping.go_on(50)
        forgetting.go_on(50)
        store.primary.stop()
        acknowledged = dying.kill()
        goal = keeping.emitted + AFTER
        times = times_until(
            failover=store.promoted,
            producer=lambda: keeping.acknowledged >= goal,
            api=lambda: processes.answered("keeping") >= goal,
            live=lambda: processes.followed("keeping") >= goal,
        )
        store.primary.resume()
        emitted = {stage.name: stage.end() for stage in stages}
        new = store.promoted()
        assert new is not None
        with connect(new.url, part="test") as client:
            catch_up(client, KEYS)
            found = {stage: numbers_of(client, KEYS, stage) for stage in (*emitted, "dying")}
            yield Outcome(emitted, acknowledged, found, times, stats(client, KEYS), verify(client, KEYS).faults)


def test_nothing_that_a_replica_has_acknowledged_is_lost(outcome: Outcome) -> None:
    """Not even of a stage that dies with the primary and sends nothing again."""
    found = outcome.found["dying"]

    assert len(found) >= outcome.acknowledged > 0
    assert found == list(range(1, len(found) + 1))


@pytest.mark.parametrize("stage", ["staying", "keeping"])
def test_a_stage_sends_again_what_the_new_primary_has_not_got(outcome: Outcome, stage: str) -> None:
    """Each event is in the log once, and in its order, however it was acknowledged."""
    assert outcome.found[stage] == list(range(1, outcome.emitted[stage] + 1))


def test_what_cannot_be_sent_again_is_counted(outcome: Outcome) -> None:
    """The log misses as many as the stage has emitted and the log has not got, and everything else is applied once."""
    found = outcome.found["forgetting"]
    lost = outcome.emitted["forgetting"] - len(found)

    assert found == sorted(set(found))
    assert lost > 0
    assert outcome.stats == {"applied": sum(map(len, outcome.found.values())), "lost": lost}
    assert outcome.faults == []


def test_every_part_finds_the_new_primary_in_time(outcome: Outcome) -> None:
    """Producers, the consumer, the API and its live log, within seconds of the failover."""
    assert max(outcome.times.values()) <= outcome.times["failover"] + SOON, outcome.times
