"""A consumer that is killed again and again leaves a log that is exact."""

import random
import subprocess
from collections import Counter
from contextlib import suppress

from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS
from etlog_producer import Producer
from support.consumers import Process, StartConsumer
from support.log import Log
from support.samples import WINDOW
from support.servers import wait_until
from support.stream import newest

#: Kills of a consumer at work, and kills of one that is just starting.
KILLS_AT_WORK, KILLS_AT_START = 16, 4

#: Events that wait for each new consumer.
BACKLOG = 1200


def test_a_consumer_killed_at_any_moment_leaves_exact_counters(
    log: Log, store_url: str, start_consumer: StartConsumer
) -> None:
    """Between any two commands, while more than 20,000 events arrive: each is counted once, in stream order."""
    chance = random.Random(20220603)
    kinds = sorted(KUBECOST_KINDS.by_name)
    emitted: Counter[str] = Counter()

    with Producer(store_url, log=log.keys.name) as producer:

        def emit(count: int) -> None:
            for kind in chance.choices(kinds, k=count):
                producer.emit(kind, size=emitted.total(), window=WINDOW, error="e")
                emitted[kind] += 1

        def kill(consumer: Process, within: float) -> None:
            with suppress(subprocess.TimeoutExpired):
                consumer.wait(chance.uniform(0, within))
            assert consumer.poll() is None
            consumer.kill()
            consumer.wait()

        # Each comes back under the same name, so that it need not wait for the lease of the one that was killed.
        for _ in range(KILLS_AT_WORK):
            emit(BACKLOG)
            before = log.client.get(log.keys.cursor)
            consumer = start_consumer("--name", "survivor")
            wait_until(lambda: log.client.get(log.keys.cursor) != before, what="the consumer to be at work")  # noqa: B023
            for _ in range(chance.randrange(20)):
                emit(25)
                producer.flush(10)
            kill(consumer, within=0.005)
        for _ in range(KILLS_AT_START):
            emit(BACKLOG // 4)
            kill(start_consumer("--name", "survivor"), within=0.4)
        assert producer.flush(10)

    last = start_consumer("--name", "last")
    wait_until(lambda: log.client.get(log.keys.lease) == b"last", what="the last consumer to be at work")
    log.caught_up()
    last.terminate()
    assert last.wait(10) == 0

    assert emitted.total() > 20_000
    assert log.counters() == emitted
    assert log.stats() == {"applied": emitted.total()}
    for category in CATEGORIES:
        assert len(log.listed(category)) == 1000
        assert log.listed(category) == newest(log.client, log.keys, category, 1000)
    assert log.group()["lag"] == 0
