"""The producer: what it accepts reaches the stream once, in order, under numbers without a gap."""

import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import redis
from etlog_events.errors import EtlogError, InvalidEvent, SettingsError
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_events.store import connect
from etlog_producer import Producer, ProducerClosed, sender
from support.producers import spool_files
from support.samples import WINDOW, saved
from support.servers import Server, free_port, wait_until
from support.stream import entries, numbers


def test_an_emitted_event_is_in_the_stream_after_a_flush(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """As canonical text, under the producer's id and the number 1."""
    producer.emit("AllocationSetSaved", size=97, window=WINDOW, time="2022-06-03T17:07:54Z", run="nightly")

    assert producer.flush(10)
    [entry] = entries(client, keys)
    assert entry.event == (
        b'{"kind":"AllocationSetSaved","metadata":{"size":97,'
        b'"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"},"run":"nightly"},'
        b'"time":"2022-06-03T17:07:54Z"}'
    )
    assert (entry.producer, entry.seq) == (producer.id, 1)


def test_an_event_arrives_without_a_flush(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """In the background, at once."""
    producer.emit("AssetSetTotaled", window=WINDOW)

    wait_until(lambda: client.xlen(keys.events) == 1, what="the event to arrive")


def test_events_are_numbered_in_the_order_in_which_they_were_emitted(
    producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """Through many batches, without a gap."""
    for size in range(2345):
        producer.emit("AssetSetLoaded", size=size, window=WINDOW)

    assert producer.flush(10)
    assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
        (size + 1, size) for size in range(2345)
    ]


def test_each_thread_finds_its_events_in_its_order(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """Four threads share one producer."""
    start = threading.Barrier(4)

    def emit(thread: int) -> None:
        start.wait()
        for count in range(500):
            producer.emit("AssetSetLoaded", size=count, window=WINDOW, thread=thread)

    threads = [threading.Thread(target=emit, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert producer.flush(10)
    found = entries(client, keys)
    assert [entry.seq for entry in found] == list(range(1, 2001))
    for number in range(4):
        sizes = [entry.metadata["size"] for entry in found if entry.metadata["thread"] == number]
        assert sizes == list(range(500))


def test_a_flush_without_events_is_done_at_once(producer: Producer) -> None:
    """There is nothing to wait for, not even a connection."""
    assert producer.flush(0)


def test_close_delivers_what_waits(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Without a flush before."""
    producer = Producer(store_url, log=keys.name)
    for size in range(1000):
        producer.emit("AssetSetLoaded", size=size, window=WINDOW)
    producer.close()

    assert numbers(client, keys) == list(range(1, 1001))


def test_a_with_block_closes(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Also when an exception leaves it."""

    def fail() -> None:
        with Producer(store_url, log=keys.name) as producer:
            producer.emit("AssetSetTotaled", window=WINDOW)
            raise RuntimeError("the stage failed")

    with pytest.raises(RuntimeError, match="the stage failed"):
        fail()

    assert client.xlen(keys.events) == 1


def test_emit_after_close_is_refused(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """The event would never be sent: who emits it must know."""
    producer.close()

    with pytest.raises(ProducerClosed, match=r"after close\(\)") as refused:
        producer.emit("AssetSetTotaled", window=WINDOW)

    assert isinstance(refused.value, EtlogError)
    assert not client.exists(keys.events)


def test_closing_twice_is_closing_once(producer: Producer) -> None:
    """A `with` block around a `close`, or the end of the process after it."""
    producer.emit("AssetSetTotaled", window=WINDOW)
    producer.close()
    producer.close()


def test_an_event_made_before_is_published_as_it_is(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """The caller decoded it elsewhere and passes it on."""
    raw = saved(own={"a": 1})
    producer.publish(Event.decode(raw))

    assert producer.flush(10)
    assert entries(client, keys)[0].event == raw


@pytest.mark.timed
def test_close_ends_at_once_while_the_sender_waits_for_company(
    store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop between an event and its batch, the sender must not miss it."""
    monkeypatch.setattr(sender, "LINGER", 0.3)
    producer = Producer(store_url, log=keys.name)
    producer.emit("AssetSetTotaled", window=WINDOW)

    started = time.monotonic()
    producer.close(timeout=0)

    assert time.monotonic() - started < 3


def test_close_leaves_no_thread(store_url: str, keys: Keys) -> None:
    """A process may make and close many producers."""
    before = threading.active_count()
    for _ in range(5):
        with Producer(store_url, log=keys.name) as producer:
            producer.emit("AssetSetTotaled", window=WINDOW)

    assert threading.active_count() == before


def test_close_leaves_no_connection(server: Server, keys: Keys) -> None:
    """The store need not keep one open for each producer that ever was."""
    with connect(server.url, part="test") as client:
        producer = Producer(server.url, log=keys.name)
        producer.emit("AssetSetTotaled", window=WINDOW)
        assert producer.flush(10)

        def connections() -> int:
            return [connection["name"] for connection in client.client_list()].count("etlog-producer")

        assert connections() == 1

        producer.close()

        wait_until(lambda: connections() == 0, what="the store to notice that it is closed")


def test_nothing_is_sent_before_the_first_event() -> None:
    """A stage that emits nothing has nothing to do with the store."""
    before = threading.active_count()
    with Producer(f"redis://127.0.0.1:{free_port()}", log="absent"):
        assert threading.active_count() == before


def test_two_producers_have_two_ids(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Also within one process: each numbers its own events."""
    with Producer(store_url, log=keys.name) as one, Producer(store_url, log=keys.name) as other:
        for producer in (one, other, one):
            producer.emit("AssetSetTotaled", window=WINDOW)
            assert producer.flush(10)

        assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [
            (one.id, 1),
            (other.id, 1),
            (one.id, 2),
        ]


def test_an_id_tells_host_and_process(producer: Producer, monkeypatch: pytest.MonkeyPatch, store_url: str) -> None:
    """Who reads the log finds the one who wrote it; a strange host name does no harm."""
    monkeypatch.setattr(socket, "gethostname", lambda: "büro 1:x")
    odd = Producer(store_url)

    assert producer.id.rsplit("-", 2)[1] == str(os.getpid())
    assert odd.id.startswith(f"b-ro-1-x-{os.getpid()}-")


def test_the_settings_hold_where_nothing_is_given(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Address, name and categories come from the environment."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")

    with Producer() as producer:
        producer.emit("CloudCostSetTotaled", window=WINDOW)

    assert client.xlen(keys.events) == 1


def test_settings_that_are_given_hold_instead_of_the_environment(
    store_url: str, client: redis.Redis, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them: address, name, categories, and the folder of the spool."""
    monkeypatch.setenv("ETLOG_REDIS_URL", "not an address")
    monkeypatch.setenv("ETLOG_NAME", "not a name")
    settings = Settings(
        redis_url=store_url,
        name=keys.name,
        categories=MappingProxyType({"cloudcost": "CloudCostSet"}),
        spool_dir=tmp_path / "given",
    )

    with Producer(settings=settings, durable=True) as producer:
        producer.emit("CloudCostSetTotaled", window=WINDOW)
        assert len(spool_files(tmp_path / "given" / keys.name)) == 1

    assert client.xlen(keys.events) == 1


def test_arguments_win_over_settings(
    store_url: str, client: redis.Redis, keys: Keys, tmp_path: Path, dead_url: str
) -> None:
    """Address, name and the folder of the spool."""
    settings = Settings(redis_url=dead_url, name="another", spool_dir=tmp_path / "another")

    with Producer(store_url, log=keys.name, spool_dir=tmp_path / "given", durable=True, settings=settings) as producer:
        producer.emit("AssetSetTotaled", window=WINDOW)
        assert len(spool_files(tmp_path / "given" / keys.name)) == 1

    assert client.xlen(keys.events) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": "localhost:6379"}, "^url must be a store address such as redis://"),
        ({"url": "redis://host:port"}, "^url .*not a store address"),
        ({"log": "a b"}, "^log must be up to 64 letters"),
        ({"acks": "all"}, "^acks must be one of memory, fsync, replica, not 'all'$"),
        ({"when_full": "wait"}, "^when_full must be one of drop_newest, block, raise, not 'wait'$"),
    ],
)
def test_a_wrong_argument_is_named(arguments: dict[str, Any], message: str) -> None:
    """At once, not with the first event."""
    with pytest.raises(SettingsError, match=message):
        Producer(**arguments)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"kind": "AssetSetPurged"}, "unknown kind 'AssetSetPurged'"),
        ({"size": None}, "AssetSetSaved needs size"),
        ({"size": True}, "size must be a whole number"),
        ({"window": None}, "AssetSetSaved needs window"),
        ({"window": (datetime(2022, 6, 3), datetime(2022, 6, 4))}, "window: 2022-06-03T00:00:00 has no time zone"),
        ({"time": datetime(2022, 6, 3)}, "time: 2022-06-03T00:00:00 has no time zone"),
        ({"ratio": float("nan")}, "metadata is not JSON-serializable: key 'ratio': Out of range float"),
        ({"parts": {1, 2}}, "metadata is not JSON-serializable: key 'parts' holds a set"),
        ({"part": object()}, "metadata is not JSON-serializable: key 'part' holds an object"),
        (
            {"until": datetime(2022, 6, 3, tzinfo=UTC)},
            "metadata is not JSON-serializable: key 'until' holds a datetime",
        ),
        ({"note": "\ud800"}, "metadata is not JSON-serializable: key 'note' holds text that is not valid Unicode"),
        ({"note": "x" * 70_000}, "the event is 70167 bytes long, the limit is 65536"),
    ],
)
def test_a_misused_call_raises_at_once_and_names_the_fault(
    producer: Producer, client: redis.Redis, keys: Keys, arguments: dict[str, Any], fault: str
) -> None:
    """Nothing of it is sent, and it takes no number."""
    with pytest.raises(InvalidEvent, match=f"^{fault}"):
        producer.emit(
            **{
                "kind": "AssetSetSaved",
                "size": 1,
                "window": WINDOW,
                "time": "2022-06-03T17:07:54.092619416Z",
                **arguments,
            }
        )

    producer.emit("AssetSetTotaled", window=WINDOW)
    assert producer.flush(10)
    assert numbers(client, keys) == [1]


def test_what_is_changed_after_emit_is_not_changed_in_the_event(
    producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """The event is what it was at the call."""
    parts = ["a"]
    producer.emit("AssetSetTotaled", window=WINDOW, parts=parts)
    parts.append("b")

    assert producer.flush(10)
    assert entries(client, keys)[0].metadata["parts"] == ["a"]


def test_every_argument_arrives(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """As the reader decodes it."""
    start = datetime(2022, 6, 3, 12, tzinfo=UTC)
    producer.emit(
        "AllocationSetReconcileError",
        size=0,
        window=(start, start + timedelta(hours=1)),
        error="é ✓ 😀",
        time=start,
        attempt=3,
    )

    assert producer.flush(10)
    assert Event.decode(entries(client, keys)[0].event) == Event(
        "AllocationSetReconcileError",
        {
            "size": 0,
            "window": {"start": "2022-06-03T12:00:00Z", "end": "2022-06-03T13:00:00Z"},
            "error": "é ✓ 😀",
            "attempt": 3,
        },
        "2022-06-03T12:00:00Z",
    )


@pytest.mark.timed
def test_emit_takes_microseconds(producer: Producer) -> None:
    """A generous bound for a busy machine: a thousand calls in a second."""
    producer.emit("AssetSetSaved", size=1, window=WINDOW)
    started = time.perf_counter()
    for size in range(1000):
        producer.emit("AssetSetSaved", size=size, window=WINDOW)

    assert time.perf_counter() - started < 0.25
