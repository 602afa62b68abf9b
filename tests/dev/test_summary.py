"""The summary of `etlog dev` counts what waits as the status of the API does."""

import redis
from etlog_dev.summary import Summarizer
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_producer.publish import Identity, Publisher
from support.consumers import CaughtUp, Consuming
from support.samples import saved


def test_events_that_wait_are_counted_and_entries_where_only_those_can_be(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """An entry that another client appended holds nobody knows how many events."""
    summarizer = Summarizer(client, keys, Settings().kinds)
    assert summarizer.look() is None  # there is no stream yet
    publisher = Publisher(client, keys)
    publisher(Identity("o"), 1, [saved(0)])
    with consuming():
        caught_up()
    assert " · waiting 0 · " in str(summarizer.look())

    publisher(Identity("p"), 1, [saved(size) for size in range(3)])
    assert " · waiting 3 · " in str(summarizer.look())
    publisher(Identity("q"), 1, [saved(3)])
    assert " · waiting 4 · " in str(summarizer.look())

    client.xadd(keys.events, {"event": saved(4), "event.1": saved(5)})
    assert " · waiting 3 entries · " in str(summarizer.look())

    with consuming():
        caught_up()
    assert str(summarizer.look()) == "applied 7 (6 in the last minute) · waiting 0 · errors 0 · dead 0 · lost 0"

    client.xadd(keys.events, {"event": saved(6)})
    assert " · waiting 1 entry · " in str(summarizer.look())
