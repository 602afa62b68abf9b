"""`etlog status`: how far the log is applied, what waits, and which consumer is active."""

import orjson
import redis
from etlog_events.keys import Keys
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


def test_one_of_several_logs_is_asked_for_by_its_name(second_of_two: tuple[str, ...]) -> None:
    """The status is that of the log that `--log` names."""
    answer = commands.run("status", "--json", *second_of_two)

    assert orjson.loads(answer.stdout)["data"]["entries"] == 2
