"""A figure counts only when the work behind it was right: wrong results are found, and missed targets are said."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.stream import Client

from benchmarks import answer, apply, events, ledger, publish, table
from benchmarks.figures import Row, WrongResult
from benchmarks.shared import sets
from benchmarks.store import Store

COUNT = 6

Events = list[dict[str, Any]]


def published(processes: int = 1) -> Events:
    """What a contestant left that did its work."""
    return [
        {"kind": events.KINDS[size & 1], "metadata": {"size": size, "window": events.WINDOW}, "time": "now"}
        for size in range(COUNT)
        for _ in range(processes)
    ]


def without_one(found: Events) -> Events:
    """One was lost."""
    return found[:-1]


def with_one_twice(found: Events) -> Events:
    """One came twice."""
    return [*found, found[-1]]


def out_of_order(found: Events) -> Events:
    """Two changed places."""
    return [found[1], found[0], *found[2:]]


def of_another_kind(found: Events) -> Events:
    """One is something else."""
    return [{**found[0], "kind": events.KINDS[1]}, *found[1:]]


def without_window(found: Events) -> Events:
    """One lost a field."""
    return [{**found[0], "metadata": {"size": 0, "window": None}}, *found[1:]]


@pytest.mark.parametrize("processes", [1, 4])
def test_everything_in_order_is_right(processes: int) -> None:
    """As often as there were processes that published it."""
    publish.check(iter(published(processes)), COUNT, processes)


@pytest.mark.parametrize("spoil", [without_one, with_one_twice, out_of_order, of_another_kind, without_window])
def test_what_was_published_wrongly_is_found(spoil: Callable[[Events], Events]) -> None:
    """Whatever it is."""
    with pytest.raises(WrongResult):
        publish.check(iter(spoil(published())), COUNT, 1)


@pytest.fixture
def store(fake_client: Client, tmp_path: Path) -> Store:
    """A store with a log to which all of `texts` were applied."""
    for size, text in enumerate(texts()):
        fake_client.rpush(apply.KEYS.log("asset" if size & 1 else "allocation"), text)
        fake_client.hincrby(apply.KEYS.counters, events.KINDS[size & 1], 1)
    return Store(0, fake_client, tmp_path, 0)


def texts() -> list[bytes]:
    """The events of the log."""
    return [events.text(size) for size in range(COUNT)]


def test_a_log_that_holds_all_is_right(store: Store) -> None:
    """Byte for byte."""
    apply.check(store, texts())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client: client.hincrby(apply.KEYS.counters, events.KINDS[0], 1),
        lambda client: client.hset(apply.KEYS.counters, "AssetSetLoaded", 1),
        lambda client: client.rpop(apply.KEYS.log("asset")),
        lambda client: client.rpush(apply.KEYS.log("asset"), client.lpop(apply.KEYS.log("asset"))),
        lambda client: client.lset(apply.KEYS.log("asset"), 0, texts()[1].replace(b":1,", b": 1,")),
    ],
    ids=["a counter", "a kind", "a missing event", "the order", "other bytes"],
)
def test_what_was_applied_wrongly_is_found(store: Store, spoil: Callable[[Any], object]) -> None:
    """Whatever it is."""
    spoil(store.client)
    with pytest.raises(WrongResult):
        apply.check(store, texts())


INTERVAL = "/".join(sets.window(1))


@pytest.fixture
def ledger_store(fake_client: Client, tmp_path: Path) -> Store:
    """A store whose ledger keeps the newer of two sets of each category."""
    for prefix, category in ledger.CATEGORIES.items():
        place = 2 + sets.PREFIXES.index(prefix)
        time = f"2000-01-01T02:01:00.{place:08}1Z"
        row = {"Saved": {"n": 1, "first": time, "last": time, "settled": time, "size": place}}
        fake_client.hset(ledger.KEYS.sets(category), INTERVAL, json.dumps(row))
        fake_client.zadd(ledger.KEYS.changes(category), {INTERVAL: 4})
        fake_client.hset(ledger.KEYS.counters, f"{prefix}Saved", 2)
        fake_client.hset(ledger.KEYS.unrowed, f"{prefix}Saved", 1)
    fake_client.hset(ledger.KEYS.stats, "applied", 4)
    return Store(0, fake_client, tmp_path, 0)


def test_a_ledger_that_holds_all_is_right(ledger_store: Store) -> None:
    """The rows that are kept, and a count of the events whose rows are not."""
    ledger.check(ledger_store, sets.each_another(0, 0), keep=1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda client: client.hset(ledger.KEYS.sets("asset"), INTERVAL, '{"Saved":{"n":1}}'),
        lambda client: client.hdel(ledger.KEYS.sets("asset"), INTERVAL),
        lambda client: client.hset(ledger.KEYS.sets("asset"), "/".join(sets.window(0)), "{}"),
        lambda client: client.zrem(ledger.KEYS.changes("asset"), INTERVAL),
        lambda client: client.hset(ledger.KEYS.unrowed, "AssetSetSaved", 2),
        lambda client: client.hset(ledger.KEYS.counters, "AssetSetSaved", 3),
    ],
    ids=["a row", "a missing row", "a row too many", "the changes", "the events in no row", "a counter"],
)
def test_a_wrong_ledger_is_found(ledger_store: Store, spoil: Callable[[Any], object]) -> None:
    """Whatever it is."""
    spoil(ledger_store.client)
    with pytest.raises(WrongResult):
        ledger.check(ledger_store, sets.each_another(0, 0), keep=1)


def test_an_answer_of_other_bytes_is_found(store: Store) -> None:
    """One that was made from the store by nobody who is measured is what all are held against."""
    body = answer.expected(store, query=False)
    answer.require_same(answer.OURS, body, body)
    with pytest.raises(WrongResult):
        answer.require_same(answer.OURS, body.replace(b'"size":1,', b'"size":2,'), body)


def test_a_missed_target_is_said() -> None:
    """Beside what was reached, and by the ratios of what ran side by side."""
    row = Row("work")
    for ours, theirs in ((300.0, 100.0), (100.0, 50.0), (400.0, 100.0)):
        row.add("ours", ours, "events/s", ours=True)
        row.add("theirs", theirs, "events/s")
    row.ratio("ours", "theirs", least=2.5)
    row.ratio("ours", "theirs", least=3.5)
    row.ratio("ours", "somebody who is missing", least=1.0)

    assert [bound.median for bound in row.bounds] == [3.0, 3.0]
    assert [line.split()[-1] for line in table.lines(row)][-2:] == ["reached", "MISSED"]
