"""`etlog verify`: the log proves its own completeness, or says what is wrong."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog import in_flight, ledger_check, records, verification
from etlog.__main__ import run
from etlog.commands import verify as command
from etlog.ledger_check import LedgerCheck
from etlog.verification import Account, verify
from etlog_consumer import Consumer, Target
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds
from etlog_events.sequence import Record
from etlog_events.store import connect
from etlog_ledger.row import Cell, encode
from etlog_producer.publish import Identity, Publisher
from support.consumers import CaughtUp, Consuming, catch_up, in_threads
from support.samples import WINDOW, saved
from support.stream import Client, raw_entries
from support.watched import Watched

EVENTS = [saved(size) for size in range(10)]
SET = "/".join(WINDOW)
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
    publish(Identity("a"), 1, [*EVENTS, b"{}"])
    publish(Identity("b"), 4, EVENTS, skip=True)
    client.xadd(keys.events, {"event": EVENTS[0]})
    client.xadd(keys.events, {"event": "no event"})
    with consuming():
        caught_up()
    publish(Identity("b"), 14, EVENTS)
    client.xadd(keys.events, {"event": EVENTS[0]})
    return keys


def test_a_log_is_complete(busy_log: Keys, etlog_verify: Verify, capsys: pytest.CaptureFixture[str]) -> None:
    """And the equation is printed, per producer and in sum."""
    assert etlog_verify() == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["a", "11", "10", "1", "0", "0"] in lines
    assert ["b", "23", "10", "0", "3", "10"] in lines
    assert ["total", "34", "20", "1", "3", "10"] in lines
    assert not any(line[:1] == ["(ended)"] for line in lines)
    assert " ".join(lines[-2]) == "Ledger: 1 set of allocation, 0 sets of asset. Events in rows: 21, in none: 0."
    assert lines[-1][:3] == ["published", "=", "applied"]


def test_it_is_told_as_json(busy_log: Keys, etlog_verify: Verify, capsys: pytest.CaptureFixture[str]) -> None:
    """For a script."""
    assert etlog_verify("--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["holds"] is True
    assert found["total"]["published"] == 34
    assert (found["unnumbered"], found["unnumbered_in_flight"]) == (2, 1)
    sets = {"allocation": 1, "asset": 0}
    assert found["ledger"] == {"sets": sets, "events": 21, "unrowed": 0, "stood_still": True}


def test_an_empty_log_is_complete(etlog_verify: Verify) -> None:
    """Nothing was published."""
    assert etlog_verify() == 0


def changed(client: Client, keys: Keys, producer: str, **numbers: Any) -> None:
    """Change numbers in the record of a producer."""
    record = Record.decode(client.hget(keys.producers, producer))
    assert record is not None
    client.hset(keys.producers, producer, record._replace(**numbers).encode())


FAULTS: dict[str, tuple[Callable[[redis.Redis, Keys], Any], str]] = {
    "an entry that is nowhere": (
        lambda client, keys: client.xdel(keys.events, raw_entries(client, keys)[-2][0]),
        "10 events of b are neither applied nor counted nor in the stream",
    ),
    "applied and never published": (
        lambda client, keys: changed(client, keys, "a", applied=13),
        "2 more events of a are accounted for than it has published",
    ),
    "stats that forgot an event that was applied": (
        lambda client, keys: client.hincrby(keys.stats, "applied", -1),
        "the counters hold 21 events, but the stats say 20 applied",
    ),
    "stats that forgot an event that was published": (
        lambda client, keys: client.hincrby(keys.stats, "published", -1),
        "the producers' records say 34 published, but the stats say 33",
    ),
    "a record that is gone": (
        lambda client, keys: client.hdel(keys.producers, "a"),
        "the producers' records account for 13 events and 2 came without a number, "
        "but the stats say 21 applied, 2 dead and 3 lost",
    ),
    "a loss that was not counted": (
        lambda client, keys: changed(client, keys, "b", lost=0),
        "the producers' records say 0 lost, but the stats say 3",
    ),
    "a field that is no record": (
        lambda client, keys: client.hset(keys.producers, "a", "published=few"),
        "a holds no record in {producers}",
    ),
    "an event that is in a row, too, and called one in no row": (
        lambda client, keys: client.hincrby(keys.unrowed, "AllocationSetSaved", 3),
        "the rows of the ledger tell of 21 AllocationSetSaved and 3 are in no row, but the counters say 21",
    ),
    "a row that is gone": (
        lambda client, keys: client.hdel(keys.sets("allocation"), SET),
        "the rows of the ledger tell of 0 AllocationSetSaved and 0 are in no row, but the counters say 21",
    ),
    "a change without a row": (
        lambda client, keys: client.zadd(keys.changes("asset"), {SET: 1}),
        f"{SET} is in {{changes}}asset, but has no row",
    ),
    "a row without a change": (
        lambda client, keys: client.zrem(keys.changes("allocation"), SET),
        f"{SET} has a row, but is not in {{changes}}allocation",
    ),
    "a field that is no row": (
        lambda client, keys: client.hset(keys.sets("asset"), SET, '{"Saved":{"n":1,"first":"now","last":"now"}}'),
        f"{SET} holds no row in {{sets}}asset",
    ),
    "a row of no window": (
        lambda client, keys: client.hset(keys.sets("asset"), "-/2022-06-03T11:00:00Z", "{}"),
        "-/2022-06-03T11:00:00Z in {sets}asset is not the interval of a window",
    ),
    "a number of events in no row that is none": (
        lambda client, keys: client.hset(keys.unrowed, "AllocationSetSaved", "-1"),
        "AllocationSetSaved holds no number in {unrowed}",
    ),
    "a sum that is not a number": (
        lambda client, keys: client.hset(keys.producers_ended, "dead", "few"),
        "dead holds no number in {producers}:ended",
    ),
}


@pytest.fixture(params=["in one step", "slice by slice"])
def size_of_log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of few producers, and one of so many that they are read slice by slice."""
    if request.param == "slice by slice":
        monkeypatch.setattr(verification, "AT_ONCE", 0)
        monkeypatch.setattr(verification, "SLICE", 1)
        monkeypatch.setattr(ledger_check, "AT_ONCE", 0)
        monkeypatch.setattr(ledger_check, "SLICE", 1)


@pytest.mark.usefixtures("size_of_log")
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

    names = {"producers": busy_log.producers, "unrowed": busy_log.unrowed}
    names |= {"sets": busy_log.sets(""), "changes": busy_log.changes("")}
    assert fault.format(**names) in verify(client, busy_log).faults
    assert "Fault: " in capsys.readouterr().out


def test_a_long_lag_is_taken_from_the_numbers(client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting it would take long and prove little of what is still on its way."""
    publish = Publisher(client, keys)
    publish(Identity("p"), 1, EVENTS * 3)
    publish(Identity("q"), 1, EVENTS)
    monkeypatch.setattr(in_flight, "COUNTED_EVENTS", 20)

    found = verify(client, keys)

    assert (found.counted, found.total.in_flight, found.faults) == (False, 40, [])
    assert {account.producer: account.in_flight for account in found.producers} == {"p": 30, "q": 10}


def test_large_entries_are_counted_up_to_a_size(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few events may fill a stream, too."""
    for _ in range(3):
        client.xadd(keys.events, {"event": b"x" * 1000})
    monkeypatch.setattr(in_flight, "COUNTED_BYTES", 2000)
    monkeypatch.setattr(in_flight, "FIRST_READ", 1)
    monkeypatch.setattr(in_flight, "READ_ENTRIES", 1)

    assert not verify(client, keys).counted


def test_more_producers_with_events_in_flight_than_are_compared(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their numbers are trusted, and none is forgotten in the sums."""
    publish = Publisher(client, keys)
    for number in range(5):
        publish(Identity(f"p{number}"), 1, EVENTS)
    monkeypatch.setattr(records, "MOST_OPEN", 3)

    found = verify(client, keys)

    assert (found.counted, found.total.in_flight, found.producers_notable, found.faults) == (False, 50, 5, [])


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


def test_every_spelling_of_an_entry_is_counted(client: Client, keys: Keys) -> None:
    """Batches, repetitions, what stands behind a gap in the names, and what has no number that can be used."""
    publish = Publisher(client, keys)
    publish(Identity("p"), 1, EVENTS)
    client.xadd(keys.events, {"event": "", "event.1": "", "event.2": "", "producer": "p", "seq": 9})  # 11 is new
    client.xadd(keys.events, {"event": "", "event.3": "", "producer": "p", "seq": 12})  # 12 and 15
    client.xadd(keys.events, {"event.1": "", "note": "", "producer": "p", "seq": 20})  # 21
    client.xadd(keys.events, {"producer": "p", "seq": 30})  # one dead letter
    # Two of them are applied, and the cursor was set back.
    client.hset(keys.producers, "p", Record(10, 2, 0, 0, 1, b"", closed=False).encode())
    client.hset(keys.stats, "applied", 2)
    for counts in (keys.counters, keys.unrowed):
        client.hset(counts, "AssetSetSaved", 2)
    for fields in ({"event": "", "event.1": ""}, {"note": ""}, {"event": "", "producer": "p", "seq": 2**53}):
        client.xadd(keys.events, fields)
    client.xadd(keys.events, {"event": "", "event.1": "", "producer": "unknown", "seq": 1})

    found = verify(client, keys)

    assert [(account.published, account.in_flight) for account in found.producers] == [(15, 13)]
    assert found.unnumbered_in_flight == 2 + 1 + 1 + 2
    assert found.faults == []


def test_producers_that_have_ended_are_in_the_sums(
    client: redis.Redis,
    keys: Keys,
    consuming: Consuming,
    caught_up: Callable[[], None],
    etlog_verify: Verify,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their records are gone."""
    publish = Publisher(client, keys)
    for producer in ("a", "b"):
        publish(Identity(producer), 2, [*EVENTS, b"{}"], skip=True)
    with consuming():
        caught_up()
    publish.close(Identity("a"), 12)

    assert etlog_verify() == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["(ended)", "12", "10", "1", "1", "0"] in lines
    assert ["total", "24", "20", "2", "2", "0"] in lines
    assert etlog_verify("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["producers_total"], found["ended"]["published"]) == (1, 12)

    client.hincrby(keys.producers_ended, "published", -1)
    assert "the producers' records say 23 published, but the stats say 24" in verify(client, keys).faults


@pytest.fixture
def many(client: redis.Redis, keys: Keys) -> int:
    """A log of many producers, each with one event that is applied, the last one seen last."""
    number = 7_000
    for first in range(0, number, 1000):
        client.hset(
            keys.producers,
            mapping={
                f"p{place}": Record(1, 1, 0, 0, place, b"", closed=False).encode()
                for place in range(first, first + 1000)
            },
        )
    client.hset(keys.stats, mapping={"published": number, "applied": number})
    for counts in (keys.counters, keys.unrowed):
        client.hset(counts, "AssetSetSaved", number)
    return number


def test_of_many_producers_those_with_something_to_tell_are_told(
    many: int, client: redis.Redis, keys: Keys, etlog_verify: Verify, capsys: pytest.CaptureFixture[str]
) -> None:
    """And those seen last; all are checked."""
    changed(client, keys, "p3", dead=1)
    changed(client, keys, "p5", dead=1)
    client.hset(keys.stats, mapping={"applied": many - 2, "dead": 2})
    for counts in (keys.counters, keys.unrowed):
        client.hincrby(counts, "AssetSetSaved", -2)
    Publisher(client, keys)(Identity("p4"), 2, EVENTS)

    assert etlog_verify() == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines[1:6]] == ["p4", "p5", "p3", "p6999", "p6998"]
    assert ["total", "7010", "6998", "2", "0", "10"] in lines
    assert ["and", str(many - 53), "more", "producers,"] in [line[:4] for line in lines]
    assert etlog_verify("--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["producers_total"], found["producers_notable"], found["stood_still"]) == (many, 3, True)
    assert len(found["producers"]) == 1000

    changed(client, keys, "p2", applied=0)
    changed(client, keys, "p1", lost=1)
    client.hset(keys.producers, "p0", "?")
    assert verify(client, keys).faults == [
        f"p0 holds no record in {keys.producers}",
        "1 event of p2 is neither applied nor counted nor in the stream",
        f"the producers' records account for {many - 2} events and 0 came without a number, "
        f"but the stats say {many - 2} applied, 2 dead and 0 lost",
        f"the producers' records say {many + 9} published, but the stats say {many + 10}",
        "the producers' records say 1 lost, but the stats say 0",
    ]


def test_more_notable_producers_than_are_told_are_counted(
    many: int, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that nobody takes the rest for fine."""
    monkeypatch.setattr(verification, "MOST_TOLD", 2)
    for producer in ("p1", "p2", "p3"):
        changed(client, keys, producer, dead=1)
    client.hset(keys.producers, mapping={"p4": "", "p5": "", "p6": ""})

    found = verify(client, keys)
    assert [account.producer for account in found.producers] == ["p3", "p2"]
    assert len(found.faults) == 3
    assert found.faults[-1].startswith("there are ")
    command.show(found)
    assert f"and {many - 2} more producers, 1 of them with dead, lost or waiting events" in capsys.readouterr().out


class Meanwhile:
    """A client of a log to which something happens after the first `quiet` slices of producers, each time."""

    def __init__(self, client: redis.Redis, happens: Callable[[], Any], quiet: int = 0, times: int = 1000) -> None:
        self._client, self._happens, self._quiet, self._times = client, happens, quiet, times
        self.readings = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def hscan(self, key: str, place: int, count: int) -> Any:
        """Read a slice."""
        self.readings += place == 0
        found = self._client.hscan(key, place, count=count)
        if self._quiet:
            self._quiet -= 1
        elif self._times:
            self._times -= 1
            self._happens()
        return found


@pytest.mark.usefixtures("many")
def test_a_log_that_moves_once_is_read_again(client: redis.Redis, keys: Keys) -> None:
    """And then all is compared."""
    publish = Publisher(client, keys)
    moving = Meanwhile(client, lambda: publish(Identity("new"), 1, EVENTS), times=1)

    found = verify(moving, keys)

    assert (found.stood_still, found.total.in_flight, found.faults, moving.readings) == (True, 10, [], 2)


@pytest.mark.usefixtures("many")
def test_of_a_log_that_never_stands_still_the_sums_are_not_compared(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would not agree, and nothing is wrong. What a record says by itself is checked all the same."""
    monkeypatch.setattr(verification, "LOOK_EVERY", 1)
    publish, last = Publisher(client, keys), 0

    def move() -> None:
        nonlocal last
        publish(Identity("busy"), last + 1, [EVENTS[0]])
        last += 1

    found = verify(Meanwhile(client, move), keys)
    assert (found.stood_still, found.faults) == (False, [])
    command.show(found)
    assert "did not stand still" in " ".join(capsys.readouterr().out.split())

    changed(client, keys, "p7", applied=3)
    [fault] = verify(Meanwhile(client, move), keys).faults
    assert fault == "2 more events of p7 are accounted for than it has published"


class Trimming:
    """A client of a log whose consumer applies and trims all that waits whenever the stream is about to be read, so
    many times."""

    def __init__(self, client: redis.Redis, keys: Keys, consume: Callable[[], None], times: int) -> None:
        self._client, self._keys, self._consume, self._times = client, keys, consume, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def connection_pool(self) -> Any:
        """What entries are read by."""
        if self._times:
            self._times -= 1
            self._consume()
        return self._client.connection_pool


@pytest.mark.parametrize(("times", "stood_still"), [(2, True), (100, False)])
def test_what_a_consumer_trims_meanwhile_is_no_fault(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None], times: int, stood_still: bool
) -> None:
    """It was in flight, and is applied. Counting it again settles that, unless the consumer is always faster."""
    publish, last = Publisher(client, keys), 0

    def publish_more() -> None:
        nonlocal last
        publish(Identity("p"), last + 1, EVENTS)
        last += len(EVENTS)

    def consume_and_publish() -> None:
        with consuming(retain=0):
            caught_up()
        client.xtrim(keys.events, maxlen=0)
        publish_more()

    publish_more()

    found = verify(Trimming(client, keys, consume_and_publish, times), keys)

    assert (found.faults, found.stood_still) == ([], stood_still)


def test_what_is_told_of_few_producers_is_all(client: redis.Redis, keys: Keys) -> None:
    """Those with something to tell first, then by when they were seen."""
    publish = Publisher(client, keys)
    for producer in ("b", "a"):
        publish(Identity(producer), 1, EVENTS)
    for place, producer in enumerate(("a", "b")):
        changed(client, keys, producer, seen=1000 + place)

    assert verify(client, keys).producers == [Account("b", 10, 0, 0, 0, 10), Account("a", 10, 0, 0, 0, 10)]


def test_a_store_that_is_away_is_one_sentence(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """With its address."""
    assert run(["verify", "--redis-url", "redis://127.0.0.1:1/0"]) != 0

    assert capsys.readouterr().err.startswith("etlog: the store at redis://127.0.0.1:1/0 cannot be reached")


def test_a_log_of_before_the_ledger_is_told_what_to_do(
    busy_log: Keys, client: redis.Redis, consuming: Consuming, caught_up: CaughtUp, etlog_verify: Verify
) -> None:
    """In one sentence; and a consumer does it."""
    client.delete(*(key for category in CATEGORIES for key in busy_log.of_category(category)[1:]))
    assert verify(client, busy_log).faults == [
        "there is no ledger of allocation yet, as where an earlier release wrote the log: "
        "start a consumer of this release, which builds it"
    ]

    with consuming():
        caught_up()

    assert etlog_verify() == 0
    assert verify(client, busy_log).ledger.sets == {"allocation": 1, "asset": 0}


def test_the_ledger_of_each_category_is_checked(
    store_url: str, client: redis.Redis, keys: Keys, etlog_verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the settings, too; sets, errors without a window, and events whose row was dropped."""
    kinds = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")
    for hour in range(5):
        window = (f"2022-06-03T1{hour}:00:00Z", f"2022-06-03T1{hour + 1}:00:00Z")
        client.xadd(keys.events, {"event": Event.new("CloudCostSetTotaled", window=window, kinds=kinds).encode()})
    client.xadd(keys.events, {"event": Event.new("CloudCostSetComputeError", error="403", kinds=kinds).encode()})
    with connect(store_url, part="consumer") as consumer:
        target = Target(keys, kinds, 1000, keep_sets=3)
        with in_threads(Consumer(consumer, target, retain=1000)):
            catch_up(client, keys)

    assert etlog_verify() == 0
    found = verify(client, keys, kinds=kinds).ledger
    assert found == LedgerCheck({"allocation": 0, "asset": 0, "cloudcost": 3}, events=4, unrowed=2, stood_still=True)

    client.hincrby(keys.counters, "CloudCostSetTotaled", 1)
    assert etlog_verify() == 1


def test_of_many_fields_that_are_wrong_the_first_are_named(client: redis.Redis, keys: Keys) -> None:
    """And the others counted."""
    client.hset(keys.sets("asset"), mapping={f"no window {number:02}": "{}" for number in range(12)})

    faults = verify(client, keys).faults

    assert len(faults) == 2 * (ledger_check.NAMED + 1)
    assert faults[0] == f"no window 00 in {keys.sets('asset')} is not the interval of a window"
    assert faults[-1] == f"2 more rows are not in {keys.changes('asset')}"


@pytest.mark.usefixtures("busy_log")
@pytest.mark.parametrize(("times", "stood_still"), [(2, True), (1000, False)])
def test_rows_are_compared_with_the_counters_of_their_moment(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, times: int, stood_still: bool
) -> None:
    """While the log moves they are read again, and what could never be compared is not judged."""
    monkeypatch.setattr(ledger_check, "AT_ONCE", 0)
    monkeypatch.setattr(ledger_check, "SLICE", 1)
    for hour in range(10, 20):
        window = (f"2022-06-05T{hour}:00:00Z", f"2022-06-05T{hour + 1}:00:00Z")
        client.hset(keys.sets("asset"), "/".join(window), "{}")
        client.zadd(keys.changes("asset"), {"/".join(window): 1})

    def move(command: int) -> None:
        nonlocal times
        if command % 5 == 0 and times:  # in the midst of each reading
            times -= 1
            number = client.hincrby(keys.counters, "AllocationSetSaved", 1)
            client.hset(keys.sets("allocation"), SET, encode({"Saved": Cell(number, WINDOW[1], WINDOW[1])}))

    checked, faults = ledger_check.check(Watched(client, before=move), keys, KUBECOST_KINDS)

    assert (checked.stood_still, faults) == (stood_still, [])
    assert checked.sets == {"allocation": 1, "asset": 10}
