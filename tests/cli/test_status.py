"""`etlog status`: how far the log is applied, what waits, and which consumer is active."""

import re

import orjson
import redis
from etlog_events.keys import Keys
from etlog_producer.publish import Identity, Publisher
from support import commands
from support.consumers import CaughtUp, Consuming
from support.samples import saved


def test_the_status_tells_what_waits_and_who_is_active(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Without a consumer it says so, and how many entries wait."""
    client.xadd(keys.events, {"event": saved(1)})
    before = commands.run("status", "--url", api)

    with consuming() as consumer:
        caught_up()
        after = commands.run("status", "--url", api)
        lag = orjson.loads(commands.run("status", "--url", api, "--json").stdout)["data"]["lag"]

    assert "no consumer is active" in before.stdout
    assert "the oldest for" in before.stdout
    assert consumer.name in after.stdout
    assert "nothing" in after.stdout
    assert lag == 0


def test_what_waits_is_counted_in_events_or_entries(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """In entries while some wait that other clients appended."""

    def waiting() -> str:
        lines = commands.run("status", "--url", api).stdout.splitlines()
        [line] = [line for line in lines if line.startswith("waiting")]
        return re.sub(r", the oldest for [0-9.]+ s$", "", line.removeprefix("waiting").strip())

    publisher = Publisher(client, keys)
    publisher(Identity("p"), 1, [saved(0)])
    assert waiting() == "1 event"
    publisher(Identity("p"), 2, [saved(size) for size in range(1199)])
    assert waiting() == "1,200 events"
    client.xadd(keys.events, {"event": saved(0), "event.1": saved(1)})
    assert waiting() == "an unknown number of entries"  # where there was never a consumer
    with consuming():
        caught_up()
    assert waiting() == "nothing"
    client.xadd(keys.events, {"event": saved(0), "event.1": saved(1)})
    assert waiting() == "1 entry"
    publisher(Identity("p"), 1201, [saved(0), saved(1)])
    assert waiting() == "2 entries"


def test_one_of_several_logs_is_asked_for_by_its_name(second_of_two: tuple[str, ...]) -> None:
    """The status is that of the log that `--log` names."""
    answer = commands.run("status", "--json", *second_of_two)

    assert orjson.loads(answer.stdout)["data"]["entries"] == 2
