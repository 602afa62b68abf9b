"""`etlog verify`: the log proves its own completeness, or says what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog import verification
from etlog.__main__ import run
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_producer.publish import Publisher
from support.consumers import Consuming
from support.samples import saved
from support.stream import entries

EVENTS = [saved(size) for size in range(10)]
Verify = Callable[..., int]


@pytest.fixture
def etlog_verify(store_url: str, keys: Keys) -> Verify:
    """Runs the command on the test's log, and returns its exit code."""
    return lambda *options: run(["verify", "--redis-url", store_url, "--log", keys.name, *options])


@pytest.fixture
def busy_log(
    client: redis.Redis,
    keys: Keys,
    consuming: Consuming,
    caught_up: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Keys:
    """A log with everything in it: applied, dead, lost, in flight, with and without a number."""
    monkeypatch.setenv("ETLOG_REDIS_URL", "")
    monkeypatch.setenv("ETLOG_NAME", "")
    publish = Publisher(client, keys)
    publish("a", 1, [*EVENTS, b"{}"])
    publish("b", 4, EVENTS, skip=True)
    client.xadd(keys.events, {"event": EVENTS[0]})
    client.xadd(keys.events, {"event": "no event"})
    with consuming():
        caught_up()
    publish("b", 14, EVENTS)
    client.xadd(keys.events, {"event": EVENTS[0]})
    return keys


def test_a_log_is_complete(busy_log: Keys, etlog_verify: Verify, capsys: pytest.CaptureFixture[str]) -> None:
    """And the equation is printed, per producer and in sum."""
    assert etlog_verify() == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "11", "10", "1", "0", "0"] in lines
    assert ["b", "23", "10", "0", "3", "10"] in lines
    assert ["total", "34", "20", "1", "3", "10"] in lines
    assert lines[-1][:3] == ["published", "=", "applied"]


def test_it_is_told_as_json(busy_log: Keys, etlog_verify: Verify, capsys: pytest.CaptureFixture[str]) -> None:
    """For a script."""
    assert etlog_verify("--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["holds"] is True
    assert found["total"]["published"] == 34
    assert (found["unnumbered"], found["unnumbered_in_flight"]) == (2, 1)


def test_an_empty_log_is_complete(etlog_verify: Verify) -> None:
    """Nothing was published."""
    assert etlog_verify() == 0


FAULTS: dict[str, tuple[Callable[[redis.Redis, Keys], Any], str]] = {
    "an entry that is nowhere": (
        lambda client, keys: client.xdel(keys.events, entries(client, keys)[-3].id),
        "1 events of b are neither applied nor counted nor in the stream",
    ),
    "applied and never published": (
        lambda client, keys: client.hset(keys.producers, "a:applied", 13),
        "2 more events of a are accounted for than it has published",
    ),
    "stats that forgot": (
        lambda client, keys: client.hincrby(keys.stats, "applied", -1),
        "the counters hold 21 events, but the stats say 20 applied",
    ),
    "a record that is gone": (
        lambda client, keys: client.hdel(keys.producers, "a:applied", "a:published", "a:dead", "a:seen"),
        "the producers' records account for 13 events and 2 came without a number, "
        "but the stats say 21 applied, 2 dead and 3 lost",
    ),
    "a loss that was not counted": (
        lambda client, keys: client.hdel(keys.producers, "b:lost"),
        "the producers' records say 0 lost, but the stats say 3",
    ),
    "a field that is not a number": (
        lambda client, keys: client.hset(keys.producers, "a:dead", "few"),
        "a:dead holds no number in {producers}",
    ),
}


@pytest.mark.parametrize(("harm", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_what_does_not_hold_is_said(
    busy_log: Keys,
    client: redis.Redis,
    etlog_verify: Verify,
    capsys: pytest.CaptureFixture[str],
    harm: Callable[[redis.Redis, Keys], Any],
    fault: str,
) -> None:
    """And the command fails."""
    harm(client, busy_log)

    assert etlog_verify() == 1

    assert fault.format(producers=busy_log.producers) in verify(client, busy_log).faults
    assert "Fault: " in capsys.readouterr().out


def test_a_long_lag_is_taken_from_the_numbers(client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting it would take long and prove little of what is still on its way."""
    Publisher(client, keys)("p", 1, EVENTS * 3)
    monkeypatch.setattr(verification, "MOST_COUNTED", 20)
    monkeypatch.setattr(verification, "CHUNK", 10)

    found = verify(client, keys)

    assert (found.counted, found.total.in_flight, found.faults) == (False, 30, [])


def test_numbers_of_a_foreign_client_are_its_own(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """It writes `producer` and `seq` by XADD, and nothing notes what it has published."""
    for seq in (1, 2, 4):
        client.xadd(keys.events, {"event": EVENTS[0], "producer": "foreign", "seq": seq})
    with consuming():
        caught_up()
    client.xadd(keys.events, {"event": EVENTS[0], "producer": "foreign", "seq": 5})

    found = verify(client, keys)

    assert found.faults == []
    assert (found.total.published, found.total.applied, found.total.lost, found.total.in_flight) == (5, 3, 1, 1)


def test_a_store_that_is_away_is_one_sentence(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """With its address."""
    assert run(["verify", "--redis-url", "redis://127.0.0.1:1/0"]) != 0

    assert capsys.readouterr().err.startswith("etlog: the store at redis://127.0.0.1:1/0 cannot be reached")
