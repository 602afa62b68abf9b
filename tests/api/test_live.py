"""The live log gives every applied event once, in order, to any number of clients, and keeps to its bounds."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from etlog_api.live import hub, stream, subscriber
from etlog_api.routes import live
from etlog_consumer import batch
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.validation import noter, validator
from etlog_producer import Producer
from support.apis import Api, Fill, Serving, Tail, add, tail
from support.consumers import Consuming, consumer_process
from support.producers import emit
from support.samples import DOCUMENTED, saved
from support.servers import Server, free_port, wait_until
from support.stream import entries


def sizes(client: Tail) -> list[int]:
    """The sizes in the events that a client has got."""
    return [int(data.split(b'"size":')[1].split(b",")[0]) for data in client.data]


def connections(client: Any) -> int:
    """Connections of the API to the store."""
    return sum(each["name"] == "etlog-api" for each in client.client_list())


def tasks(api: Api) -> int:
    """What runs in the API's loop."""

    async def count() -> int:
        return len(asyncio.all_tasks())

    return asyncio.run_coroutine_threadsafe(count(), api.loop).result()


def test_events_come_as_they_are_applied(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """The id is that of the event, the data is the event as it is stored."""
    fill([saved(0)])
    with tail(api.url) as following:
        assert following.response.status == 200
        assert following.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert following.response.headers["Cache-Control"] == "no-store"
        fill(DOCUMENTED["allocation"])
        fill([saved(ö="\u2028\n\r")])
        following.wait(4)

        applied = entries(client, keys)[1:]
        assert following.messages == [(entry.id, b"message", entry.event) for entry in applied]


def test_kinds_filter_the_live_log(api: Api, fill: Fill) -> None:
    """And a client resumes behind what was left out for it."""
    fill([saved(0)])
    with (
        tail(api.url, kind="AssetSet") as assets,
        tail(api.url, kind="nothing") as nothing,
        tail(api.url, kind="Saved,x") as both,
    ):
        fill([saved(1), saved(2, "AssetSet"), saved(3)])
        both.wait(3)
        wait_until(lambda: both.last == assets.last == nothing.last)
        assert sizes(both) == [1, 2, 3]
        assert sizes(assets) == [2]
        assert sizes(nothing) == []


def test_only_what_is_applied_is_shown(
    api: Api, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """What no consumer has applied is not in the log; nor is it here."""
    with consuming():
        add(client, keys, [saved(0)])
        caught_up()
    with tail(api.url) as following:
        add(client, keys, [saved(1)])

        def looks() -> int:
            calls: int = client.info("commandstats")["cmdstat_get"]["calls"]
            return calls

        before = looks()
        wait_until(lambda: looks() > before + 5, what="the live log to look for what is applied")
        assert following.messages == []
        with consuming():
            following.wait(1)
        assert sizes(following) == [1]


def test_dead_letters_and_duplicates_are_not_shown(
    api: Api, client: redis.Redis, keys: Keys, fill: Fill, caught_up: Callable[[], None]
) -> None:
    """Neither live nor when the stream is read again from any of its entries."""
    fill([saved(0)])
    with tail(api.url) as following:
        for seq, text in (
            ("1", saved(1)),
            ("2", saved(2)),
            ("2", saved(666)),  # a duplicate
            ("x", saved(666)),
            ("9" * 20, saved(666)),
            ("0", saved(666)),
            ("3", b"no event"),
            ("3", saved(666)),
            ("1", saved(666)),
            ("4", saved(4)),
        ):
            add(client, keys, [text], producer="p", seq=seq)
        add(client, keys, [saved(666)], producer="p" * 257, seq="1")
        client.xadd(keys.events, {"evnt": b"nothing"})
        add(client, keys, [saved(5)])
        caught_up()
        wait_until(lambda: 5 in sizes(following))
        assert sizes(following) == [1, 2, 4, 5]

        shown = {entry_id: size for (entry_id, _, _), size in zip(following.messages, sizes(following), strict=True)}
    for entry in entries_of(client, keys):
        expected = [size for entry_id, size in shown.items() if position(entry_id) > position(entry)]
        with tail(api.url, last=entry) as resumed:
            fill([saved(100)])
            wait_until(lambda: 100 in sizes(resumed))
            assert [size for size in sizes(resumed) if size < 100] == expected


def test_an_event_on_which_etlog_has_a_bug_is_left_out(
    serving: Serving, fill: Fill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the consumer does, which makes it a dead letter: the live log goes on, and says so once."""

    def buggy(right: Callable[[Kinds], Callable[[bytes], Any]]) -> Callable[[Kinds], Callable[[bytes], Any]]:
        def of(kinds: Kinds) -> Callable[[bytes], Any]:
            def validate(raw: bytes) -> Any:
                if b"poison" in raw:
                    raise ZeroDivisionError("no one thought of thirteen")
                return right(kinds)(raw)

            return validate

        return of

    monkeypatch.setattr(batch, "noter", buggy(noter))
    monkeypatch.setattr(stream, "validator", buggy(validator))
    fill([saved(0)])
    with serving() as api, tail(api.url) as following:
        wait_until(lambda: following.last)
        fill([saved(1), saved(13, marker="poison"), saved(2), saved(13, marker="poison")])
        fill([saved(3)])
        following.wait(3)
        with tail(api.url, last="0-1") as resumed:
            resumed.wait(4)

    assert sizes(following) == [1, 2, 3]
    assert sizes(resumed) == [0, 1, 2, 3]
    [failed] = [record for record in caplog.records if getattr(record, "action", "") == "live_event_failed"]
    assert failed.exc_info is not None


def entries_of(client: Any, keys: Keys) -> list[bytes]:
    """The ids of all entries."""
    return [entry_id for entry_id, _ in client.xrange(keys.events)]


def position(entry_id: bytes) -> tuple[int, ...]:
    """What ids order by."""
    return tuple(int(part) for part in entry_id.split(b"-"))


def test_a_client_resumes_behind_what_it_has(api: Api, fill: Fill) -> None:
    """One that left before its first event resumes from where it had come in."""
    fill([saved(0)])
    with tail(api.url) as first:
        wait_until(lambda: first.last)
    fill([saved(size) for size in range(1, 1201)])
    with tail(api.url, last=first.last) as second:
        second.wait(1200)
        fill([saved(1201)])
        second.wait(1201)
    assert sizes(second) == list(range(1, 1202))
    fill([saved(1202)])
    with tail(api.url, last=second.last, kind="AssetSet") as third:
        wait_until(lambda: third.last != second.last)
        fill([saved(1203, "AssetSet")])
        third.wait(1)
    assert sizes(third) == [1203]


def test_a_client_whose_place_left_the_stream_is_told(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """It reads the log again, and gets what comes from then on."""
    fill([saved(0)], retain=100)
    first = entries_of(client, keys)[0]
    for _ in range(3):
        fill([saved(1)] * 600)
    assert entries_of(client, keys)[0] != first

    with tail(api.url, last=first) as following:
        following.wait(1)
        fill([saved(2)])
        following.wait(2)
        [(resumed, reason)] = following.resyncs
        assert reason == b"the stream no longer holds what came after your last event; read the log again"
        assert sizes(following) == [2]
    with tail(api.url, last=resumed) as following:
        following.wait(1)
        assert sizes(following) == [2]


def test_a_client_ahead_of_the_log_is_told(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """The store has lost its newest entries, or began again; so what the client has is not what the log has."""
    fill([saved(0)])
    with tail(api.url, last="9999999999999-0") as following:
        following.wait(1)
        fill([saved(1)])
        following.wait(2)
    assert [reason for _, reason in following.resyncs] == [b"the log ends before your last event; read it again"]
    assert sizes(following) == [1]


def test_a_log_that_begins_again_is_told(
    api: Api, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """Also when the stream alone is gone."""
    with consuming():
        add(client, keys, [saved(0)])
        caught_up()
    [first] = entries_of(client, keys)
    with tail(api.url) as following:
        client.delete(keys.events)
        with tail(api.url, last="1-0") as other:
            other.wait(1)
            assert b"no longer holds" in other.resyncs[0][1]
        client.delete(keys.cursor, keys.producers)
        wait_until(lambda: following.ended)
    assert [reason for _, reason in following.resyncs] == [b"the log was reset or restored to an earlier state"]
    assert following.last == b"0-0"
    with tail(api.url, last=following.last) as following, consuming():
        add(client, keys, [saved(1)])
        following.wait(1)
    assert sizes(following) == [1]
    assert following.last != first


def test_a_text_that_is_not_a_position_is_refused(api: Api) -> None:
    """So is a parameter that stands twice."""
    refused = "Last-Event-ID must be the id of an event such as 1654276074092-0 or 1654276074092-0.12, not "
    for path, last, message in (
        *(("", text, f"{refused}'{text}'") for text in ("x", "1", "$", "1-0.", "1-0.0", "1-0.01", "1-0.x", "1.1-0")),
        ("?kind=a&kind=b", "1-0", "the parameter kind is given 2 times; give it once"),
    ):
        answer = api.get(f"/model/etl/log/stream{path}", headers={"Last-Event-ID": last})
        assert (answer.status_code, answer.json()) == (400, {"code": 400, "message": message})
    assert api.client.head("/model/etl/log/stream").status_code == 405


def test_a_silent_log_gives_signs_of_life(api: Api, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proxies cut what is silent."""
    monkeypatch.setattr(live, "HEARTBEAT", 0.05)
    with tail(api.url) as following:
        wait_until(lambda: following.heartbeats >= 3)
        fill([saved(1)])
        following.wait(1)
    assert sizes(following) == [1]


def test_a_hundred_clients_are_one_reader(api: Api, fill: Fill, client: redis.Redis) -> None:
    """Of the store, that is; and when they have left, nothing of them remains."""
    fill([saved(size) for size in range(10)])
    with tail(api.url) as before:
        wait_until(lambda: before.last)
    api.log()
    wait_until(lambda: connections(client) == 1)
    at_rest, seen = tasks(api), 0

    with ExitStack() as stack:
        following = []
        for number in range(100):
            following.append(stack.enter_context(tail(api.url, last="0-1" if number % 2 else "")))
            seen = max(seen, connections(client))
        fill([saved(10)])
        for number, each in enumerate(following):
            wait_until(lambda: 10 in sizes(each))  # noqa: B023
            assert sizes(each) == (list(range(11)) if number % 2 else [10])
        assert connections(client) == 2
    assert seen <= 2 + hub.REPLAYS
    wait_until(lambda: connections(client) == 1)
    wait_until(lambda: tasks(api) <= at_rest)
    assert api.log()["code"] == 200


class Deaf:
    """A client that reads nothing until it is told to."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.connect((parts.hostname, parts.port))
        self._socket.sendall(b"GET /model/etl/log/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    def read(self) -> bytes:
        """All that comes until the end."""
        self._socket.settimeout(10)
        pieces = []
        while piece := self._socket.recv(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Leave."""
        self._socket.close()


@pytest.fixture
def subscribers(monkeypatch: pytest.MonkeyPatch) -> list[subscriber.Subscriber]:
    """Every subscriber there has been."""
    made: list[subscriber.Subscriber] = []

    class Noted(subscriber.Subscriber):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    monkeypatch.setattr(hub, "Subscriber", Noted)
    return made


@pytest.mark.parametrize("bound", ["MAX_BYTES", "MAX_EVENTS"])
def test_a_client_that_does_not_read_is_cut_off(
    api: Api, fill: Fill, subscribers: list[subscriber.Subscriber], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """It is told so when it reads again; until then it costs no more than the bound, and others no delay."""
    monkeypatch.setattr(subscriber, bound, {"MAX_BYTES": 1_000_000, "MAX_EVENTS": 40}[bound])
    fill([saved(0)])
    with closing(Deaf(api.url)) as deaf, tail(api.url) as following:
        wait_until(lambda: len(subscribers) == 2)
        long, rounds = [saved(size, note="x" * 30_000) for size in range(20)], 0
        while not subscribers[0].cut_off:
            assert rounds < 100
            rounds += 1
            fill(long)
            following.wait(rounds * len(long))
        assert not subscribers[1].cut_off
        assert not subscribers[0]._waiting
        got = deaf.read()
        assert got.count(b"x" * 30_000) <= rounds * len(long) - 30
        assert got.endswith(b"\ndata: this client reads too slowly; events were left out\n\n\r\n0\r\n\r\n")


def test_a_client_that_reads_nothing_is_dropped(
    api: Api, fill: Fill, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its computer is gone, perhaps, without a word."""
    monkeypatch.setattr(live, "SEND_TIMEOUT", 0.2)
    fill([saved(0)])
    with tail(api.url):
        pass
    wait_until(lambda: connections(client) == 0)
    at_rest = tasks(api)
    with caplog.at_level(logging.INFO, "etlog.api"), closing(Deaf(api.url)):
        wait_until(lambda: tasks(api) > at_rest)
        long = [saved(size, note="x" * 30_000) for size in range(20)]

        def is_gone() -> bool:
            fill(long)
            return "Dropped a client" in caplog.text

        wait_until(is_gone)
    wait_until(lambda: tasks(api) <= at_rest)
    assert "Traceback" not in caplog.text


def test_events_of_an_outage_arrive_after_it(serving: Serving, server: Server, keys: Keys) -> None:
    """Published while the store is restarted, they are neither lost nor shown twice."""
    with (
        consumer_process(server.url, keys.name),
        Producer(server.url, log=keys.name) as producer,
        serving(redis_url=server.url) as api,
        tail(api.url) as following,
    ):
        emit(producer, *range(100))
        following.wait(100)
        server.kill()
        emit(producer, *range(100, 200))
        server.start()
        following.wait(200)
        emit(producer, *range(200, 300))
        following.wait(300)
        assert sizes(following) == list(range(300))
        assert following.resyncs == []


@pytest.mark.timed
def test_a_stream_cannot_begin_without_the_store(serving: Serving) -> None:
    """That is an error which a client can see, not a silent stream."""
    with serving(redis_url=f"redis://127.0.0.1:{free_port()}") as api:
        answer = api.get("/model/etl/log/stream")
        assert (answer.status_code, answer.json()["code"]) == (503, 503)
        assert answer.headers["Retry-After"] == "5"
        assert answer.elapsed.total_seconds() < 2
