"""The path of an event, from the stages that emit it to the lists and counters."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import redis
from etlog_events.keys import Keys
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS
from support.consumers import consumer_process
from support.servers import PATIENCE, wait_until
from support.stream import counters, dead, entries, group, listed, newest, stats

STAGES, EVENTS, CAP = 8, 2000, 1000


def test_every_event_of_many_processes_is_counted_once(
    client: redis.Redis, keys: Keys, store_url: str, caught_up: Callable[[], None]
) -> None:
    """Eight stages at once, two consumers: the counters are exact, the lists hold the newest events of the stream."""
    kinds = sorted(KUBECOST_KINDS.by_name)
    expected = Counter(kinds[(stage + number) % len(kinds)] for stage in range(STAGES) for number in range(EVENTS))

    with consumer_process(store_url, keys.name), consumer_process(store_url, keys.name):
        emitting = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).parent / "emit_events.py"),
                *(store_url, keys.name, str(STAGES), str(EVENTS)),
            ],
            timeout=PATIENCE * 2,
            check=False,
        )
        assert emitting.returncode == 0
        assert client.xlen(keys.events) == STAGES * EVENTS
        wait_until(lambda: client.exists(keys.cursor), what="a consumer to begin")
        caught_up()

    assert counters(client, keys) == expected
    assert sum(counters(client, keys).values()) == 16_000
    assert stats(client, keys) == {"applied": 16_000}
    assert dead(client, keys) == []
    assert group(client, keys)["lag"] == 0
    for category in CATEGORIES:
        assert len(listed(client, keys, category)) == CAP
        assert listed(client, keys, category) == newest(client, keys, category, CAP)


def test_the_stream_holds_the_events_of_each_process_in_its_order(
    client: redis.Redis, keys: Keys, store_url: str
) -> None:
    """Whatever came in between."""
    emitting = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "emit_events.py"), store_url, keys.name, "3", "700"],
        timeout=PATIENCE,
        check=False,
    )

    assert emitting.returncode == 0
    found = entries(client, keys)
    for stage in range(3):
        own = [entry for entry in found if entry.metadata["stage"] == stage]
        assert [entry.seq for entry in own] == list(range(1, 701))
        assert [entry.metadata["size"] for entry in own] == list(range(700))
        assert len({entry.producer for entry in own}) == 1
