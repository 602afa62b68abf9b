"""The path of an event, from the stages that emit it to the lists and counters."""

from collections import Counter
from collections.abc import Callable

import redis
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS
from support.consumers import consumer_process
from support.emitters import Emitter
from support.servers import wait_until
from support.stream import counters, dead, entries, group, listed, newest, stats

STAGES, EVENTS, CAP = 8, 2000, 1000

KINDS = sorted(KUBECOST_KINDS.by_name)


def emit(url: str, keys: Keys, stages: int, events: int) -> None:
    """Emit so many events in each of so many processes, all at once; each begins with another kind."""
    started = [
        Emitter(url, keys.name, str(stage), pause=0, kinds=KINDS[stage:] + KINDS[:stage], events=events)
        for stage in range(stages)
    ]
    assert [each.wait() for each in started] == [0] * stages


def test_every_event_of_many_processes_is_counted_once(
    client: redis.Redis, keys: Keys, store_url: str, caught_up: Callable[[], None]
) -> None:
    """Eight stages at once, two consumers: the counters are exact, the lists hold the newest events of the stream."""
    expected = Counter(KINDS[(stage + number) % len(KINDS)] for stage in range(STAGES) for number in range(EVENTS))

    with consumer_process(store_url, keys.name), consumer_process(store_url, keys.name):
        emit(store_url, keys, STAGES, EVENTS)
        assert len(entries(client, keys)) == STAGES * EVENTS
        assert int(client.hget(keys.stats, "published") or 0) == STAGES * EVENTS
        wait_until(lambda: client.exists(keys.cursor), what="a consumer to begin")
        caught_up()

    assert counters(client, keys) == expected
    assert sum(counters(client, keys).values()) == 16_000
    assert stats(client, keys) == {"applied": 16_000}
    assert dead(client, keys) == []
    assert not client.exists(keys.producers, keys.producers_seen), "each stage has closed, and all is applied"
    assert client.hget(keys.producers_ended, "applied") == b"16000"
    assert verify(client, keys).faults == []
    assert group(client, keys)["lag"] == 0
    for category in CATEGORIES:
        assert len(listed(client, keys, category)) == CAP
        assert listed(client, keys, category) == newest(client, keys, category, CAP)


def test_the_stream_holds_the_events_of_each_process_in_its_order(
    client: redis.Redis, keys: Keys, store_url: str
) -> None:
    """Whatever came in between."""
    emit(store_url, keys, 3, 700)

    found = entries(client, keys)
    for stage in range(3):
        own = [entry for entry in found if entry.metadata["stage"] == str(stage)]
        assert [entry.seq for entry in own] == list(range(1, 701))
        assert [entry.metadata["size"] for entry in own] == list(range(1, 701))
        assert len({entry.producer for entry in own}) == 1
