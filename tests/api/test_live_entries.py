"""Entries of several events, live: each event has an id of its own, and a client resumes behind any of them."""

import asyncio
import random
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from etlog_api.live import hub, stream, tailer
from etlog_events.keys import Keys
from etlog_events.positions import Position
from etlog_events.read_size import ReadSize
from etlog_producer.publish import Identity, Publisher
from support.apis import Api, Fill, Serving, Tail, add, add_entry, tail
from support.consumers import CaughtUp, Consuming
from support.samples import saved
from support.servers import PATIENCE, wait_until
from support.stream import Client, Entry, entries


def sizes(client: Tail) -> list[int]:
    """The sizes in the events that a client has got."""
    return [int(data.split(b'"size":')[1].split(b",")[0]) for data in client.data]


def require_rest_behind_each(api: Api, expected: list[Entry]) -> None:
    """A client that resumes behind any of the events gets those after it, once."""
    for place, entry in enumerate(expected, 1):
        with tail(api.url, last=entry.id) as resumed:
            rest = [(each.id, b"message", each.event) for each in expected[place:]]
            resumed.wait(len(rest))
            assert resumed.messages == rest


def test_every_event_has_an_id_and_a_client_resumes_behind_each(
    api: Api, fill: Fill, client: Client, keys: Keys, caught_up: CaughtUp
) -> None:
    """Lone events, and batches of several, mixed; also where the tailer began anew in between."""
    fill([saved(0)])
    publisher = Publisher(client, keys)
    with tail(api.url) as following:
        wait_until(lambda: following.last)
        assert following.last == entries(client, keys)[0].id + b".499"
        publisher(Identity("p"), 1, [saved(size) for size in range(1, 4)])
        fill([saved(4)])
        publisher(Identity("p"), 4, [saved(5)])
        publisher(Identity("q"), 1, [saved(size) for size in range(6, 16)])
        caught_up()
        following.wait(15)

    published = entries(client, keys)
    assert [entry.id.rpartition(b".")[2] for entry in published[2:4]] == [b"1", b"2"]
    assert following.messages == [(entry.id, b"message", entry.event) for entry in published[1:]]
    require_rest_behind_each(api, published)
    with tail(api.url, last=following.last) as resumed, tail(api.url, last=published[-3].id) as other:
        fill([saved(16)])
        resumed.wait(1)
        other.wait(3)
        assert (sizes(resumed), sizes(other)) == ([16], [14, 15, 16])


def test_what_is_left_out_in_the_middle_of_an_entry_does_not_end_it(
    api: Api, client: Client, keys: Keys, fill: Fill, caught_up: CaughtUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kinds that a client does not want, where its frames end there too; and dead letters."""
    monkeypatch.setattr(stream, "FRAMES_BYTES", 1)
    fill([saved(0)])
    texts = [saved(1, "AssetSet"), saved(2), b"no event", saved(3, "AssetSet"), saved(4), saved(5, "AssetSet")]
    entry_id = add_entry(client, keys, texts)
    caught_up()
    wanted = {b"": [1, 3, 5], b".1": [3, 5], b".2": [3, 5], b".3": [5], b".5": [], b".499": []}
    for place, expected in wanted.items():
        with tail(api.url, last=entry_id + place, kind="AssetSet") as resumed:
            rest = expected if place else expected[1:]
            resumed.wait(len(rest))
            wait_until(lambda: place == b".499" or resumed.last in {entry_id + b".5", entry_id + place})  # noqa: B023
            assert sizes(resumed) == rest
    with tail(api.url, last=entry_id, kind="AllocationSet") as resumed:
        wait_until(lambda: resumed.last == entry_id + b".5")
        assert [entry for entry, _, _ in resumed.messages] == [entry_id + b".1", entry_id + b".4"]


def test_what_stands_behind_a_gap_in_the_names_is_not_shown(
    api: Api, client: Client, keys: Keys, fill: Fill, caught_up: CaughtUp
) -> None:
    """Nor beyond the largest place. They are dead letters whose numbers count."""
    fill([saved(0)])
    with tail(api.url) as following:
        wait_until(lambda: following.last)
        fields: dict[str, Any] = {"producer": "p", "seq": "1", "event": saved(1), "event.1": saved(2)}
        client.xadd(keys.events, {**fields, "event.3": saved(666), "event.500": saved(666)})
        client.xadd(keys.events, {"event.2": saved(4), "x": b"y", "event": saved(3), "event.02": saved(666)})
        add(client, keys, [saved(666)], producer="p", seq="4")  # as the one behind the gap: a duplicate
        add(client, keys, [saved(5)], producer="p", seq="502")
        caught_up()
        fill([saved(6)])
        following.wait(5)
        assert sizes(following) == [1, 2, 3, 5, 6]
        assert following.resyncs == []
    stats = api.get("/model/etl/status").json()["data"]["stats"]
    assert (stats["dead"], stats["duplicate"]) == (3, 1)


@pytest.mark.parametrize("seed", range(4))
def test_the_live_log_is_what_was_applied_whatever_others_append(
    api: Api,
    client: Client,
    keys: Keys,
    consuming: Consuming,
    caught_up: CaughtUp,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Duplicates, losses, dead letters and gaps in the names, in entries of any length: live as the list has it, and
    from each of its events on."""
    chance = random.Random(seed)
    monkeypatch.setattr(stream, "FIRST_ENTRIES", 2)
    monkeypatch.setattr(stream, "MOST_ENTRIES", 4)
    number, last = 0, dict.fromkeys("pqr", 0)
    add(client, keys, [saved(0)])
    with consuming():
        caught_up()
    with tail(api.url) as following:
        wait_until(lambda: following.last)
        for _ in range(6):
            for _ in range(chance.randrange(1, 15)):
                fields: dict[str, Any] = {}
                for place in range(chance.choice((1, 1, 2, 5))):
                    number += 1
                    name = "event" if place == 0 else f"event.{place + (chance.random() < 0.05)}"
                    fields[name] = b"no event" if chance.random() < 0.1 else saved(number)
                if chance.random() < 0.05:
                    fields.pop("event")
                    fields["other"] = b"x"
                producer = chance.choice("pqr-")
                if producer != "-":
                    first = max(1, last[producer] + chance.choice((1, 1, 1, 1, 3, 0, -2)))
                    last[producer] = max(last[producer], first + len(fields) - 1)
                    fields |= {"producer": producer, "seq": chance.choice((str(first),) * 9 + ("x",))}
                client.xadd(keys.events, fields)
            with consuming():
                caught_up()
        listed = client.lrange(keys.log("allocation"), 1, -1)
        following.wait(len(listed))
        assert following.data == listed
        assert following.resyncs == []
        assert int(client.hget(keys.stats, "duplicate") or 0) > 0
    messages = following.messages
    for place in range(0, len(messages), 3):
        with tail(api.url, last=messages[place][0]) as resumed:
            resumed.wait(len(messages) - place - 1)
            assert resumed.messages == messages[place + 1 :]


@pytest.fixture
def may_go(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, no tailer gets on."""
    may_go = threading.Event()
    may_go.set()

    class Late(tailer.Tailer):
        async def _past(self, store: Any) -> tuple[Position, int]:
            found = await super()._past(store)
            await asyncio.to_thread(may_go.wait, PATIENCE)
            return found

    monkeypatch.setattr(hub, "Tailer", Late)
    return may_go


def test_a_client_of_a_replica_that_is_ahead_resumes_in_the_middle(
    serving: Serving, client: Client, keys: Keys, fill: Fill, caught_up: CaughtUp, may_go: threading.Event
) -> None:
    """It has some events of an entry that this replica has not passed on yet, and gets only the others."""
    fill([saved(0)])
    with serving() as api, tail(api.url) as following:
        wait_until(lambda: following.last)
        may_go.clear()
        entry_id = add_entry(client, keys, [saved(size) for size in range(1, 6)])
        caught_up()
        with tail(api.url, last=entry_id + b".1") as ahead, tail(api.url, last=entry_id + b".4") as done:
            assert following.messages == []
            may_go.set()
            fill([saved(6)])
            following.wait(6)
            ahead.wait(4)
            done.wait(1)
            assert (sizes(following), sizes(ahead), sizes(done)) == ([1, 2, 3, 4, 5, 6], [3, 4, 5, 6], [6])
            assert ahead.resyncs == done.resyncs == []


def test_a_read_of_the_stream_is_bounded_in_bytes(
    serving: Serving, client: Client, keys: Keys, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of large entries few are read at a time, of small ones more and more; none is missed for that."""
    monkeypatch.setattr(stream, "READ_BYTES", 200_000)
    reads: list[tuple[int, int]] = []

    class Noted(ReadSize):
        def follow(self, events: Sequence[int], sizes: Sequence[int]) -> None:
            reads.append((self.count, sum(sizes)))
            super().follow(events, sizes)

    monkeypatch.setattr(stream, "ReadSize", Noted)
    fill([saved(0)])
    behind = entries(client, keys)[0].id + b".499"
    for size in range(1, 51):
        add_entry(client, keys, [saved(size, note="x" * 20_000), saved(size, note="y" * 20_000)])
    fill([saved(51) for _ in range(100)])
    with serving() as api, tail(api.url, last=behind) as following:
        following.wait(200)
        assert sizes(following) == [*(size for size in range(1, 51) for _ in "xy"), *[51] * 100]
    counts = [count for count, _ in reads]
    assert counts[:6] == [32, 4, 4, 4, 4, 4]
    assert max(size for _, size in reads[1:]) <= 200_000
    assert counts[6:] == [8, 16, 32, 64]
