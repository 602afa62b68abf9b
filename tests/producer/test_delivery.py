"""What a producer still has to deliver: numbered without a gap, sent again after a loss, and accounted for."""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events.errors import StoreError
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer, inbox, unacked
from etlog_producer.delivery import Batch, Delivery, ResumePoint
from etlog_producer.publish import Identity, Published, Publisher
from etlog_producer.spool.folder import SpoolFolder
from support.logged import Logged
from support.producers import emit, numbered, spool_files, spooled
from support.servers import Server, wait_until
from support.stream import entries, numbers


def set_back(producer: Producer, client: redis.Redis, keys: Keys, held: int) -> None:
    """The store has only the first `held` events of the producer, as before a crash: stream and record are set back."""
    kept = [entry.event for entry in entries(client, keys)][:held]
    client.delete(keys.events, keys.producers)
    point = producer.resume_point
    Publisher(client, keys)(Identity(point.producer, point.token), 1, kept)


def test_a_store_that_lost_its_tail_gets_it_again(
    producer: Producer, client: redis.Redis, keys: Keys, logged: Logged
) -> None:
    """A replica was promoted without the last events: stream and number are set back."""
    emit(producer, *range(10))
    assert producer.flush(10)
    set_back(producer, client, keys, 4)

    emit(producer, 10)

    assert producer.flush(10)
    assert numbered(client, keys) == [(size + 1, size) for size in range(11)]
    assert logged("rewound") == ["The store lost events 5 to 10; sending them again"]


def emit_and_lose(producer: Producer, client: redis.Redis, keys: Keys, events: int) -> None:
    """Emit so many events; the store takes them, and then loses everything."""
    emit(producer, *range(events))
    assert producer.flush(10)
    client.delete(keys.events, keys.producers)


def test_a_store_that_lost_everything_gets_it_again(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """As long as it is still kept."""
    emit_and_lose(producer, client, keys, 1200)

    emit(producer, 1200)

    assert producer.flush(10)
    assert numbers(client, keys) == list(range(1, 1202))


def test_what_is_no_longer_kept_is_skipped(
    producer: Producer,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rest follows under its own numbers, so that the hole shows, and the producer says which events it is."""
    monkeypatch.setattr(unacked, "KEEP_EVENTS", 3)
    emit_and_lose(producer, client, keys, 10)

    emit(producer, 10)

    assert producer.flush(10)
    assert numbers(client, keys) == [8, 9, 10, 11]
    [lost] = [record for record in caplog.records if record.__dict__.get("action") == "events_lost"]
    assert (lost.__dict__["first"], lost.__dict__["last"]) == (1, 7)


def test_a_flush_after_a_loss_waits_for_what_is_sent_again(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """The numbers before the loss do not count."""
    emit_and_lose(producer, client, keys, 100)
    emit(producer, 100)

    assert producer.flush(10)
    assert numbers(client, keys) == list(range(1, 102))


def test_an_idle_producer_gives_the_store_its_tail_again(server: Server, keys: Keys) -> None:
    """It notices by itself that the store lost its last second: no one has to emit anything."""
    with Producer(server.url, log=keys.name) as producer, connect(server.url, part="test") as client:
        emit(producer, *range(10))
        assert producer.flush(10)
        client.flushall()

        wait_until(lambda: client.exists(keys.events), what="the tail to come back")
        assert numbers(client, keys) == list(range(1, 11))


def test_a_producer_that_was_idle_for_long_begins_anew(
    producer: Producer, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may forget its number in the end; then the next event must not look like a loss."""
    monkeypatch.setattr(unacked, "KEEP_SECONDS", 0.0)
    emit(producer, 1, 2)
    assert producer.flush(10)
    before = producer.id
    wait_until(lambda: not producer._sender._delivery.can_resend, what="the tail to be let go")
    monkeypatch.setattr("etlog_producer.delivery.RENEWED_AFTER", 0.0)
    emit(producer, 3)

    assert producer.flush(10)
    assert producer.id != before
    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [
        (before, 1),
        (before, 2),
        (producer.id, 1),
    ]
    stats = producer.stats()
    assert (stats.emitted, stats.delivered, stats.waiting) == (3, 3, 0)


@pytest.fixture
def make(dead_url: str, spool_dir: Path) -> Callable[..., Delivery]:
    """Makes the delivery of a producer whose store a test stands in for."""

    def make(**options: Any) -> Delivery:
        folder = SpoolFolder(spool_dir / "absent", "absent", dead_url)
        defaults: dict[str, Any] = {"spool_bytes": 1_000_000, "durable": False, "when_full": "drop_newest"}
        delivery = Delivery(folder, **defaults | options)
        delivery.inbox.lock.acquire()  # as the sender's thread does for each call
        return delivery

    return make


def put(delivery: Delivery, event: bytes) -> None:
    """As `emit` does, which holds no lock."""
    delivery.inbox.lock.release()
    delivery.inbox.put(event)
    delivery.inbox.lock.acquire()


def test_a_batch_is_given_out_until_it_is_answered(make: Callable[..., Delivery]) -> None:
    """An attempt that failed is repeated with the same events, under the same numbers."""
    delivery = make(batch_events=2)
    for event in (b"{}", b"[]", b"3"):
        put(delivery, event)

    batch = delivery.next_batch()
    assert batch == delivery.next_batch() == Batch(delivery.who, 1, [b"{}", b"[]"], skip=False)
    delivery.note(batch, Published(held=2, gap=False, log_id=""))

    assert delivery.next_batch() == Batch(delivery.who, 3, [b"3"], skip=False)


def test_the_accounts_add_up_at_every_step(make: Callable[..., Delivery]) -> None:
    """Accepted is delivered, waiting, in the spool, or lost."""
    delivery = make(batch_events=2)

    def accounts() -> tuple[int, int, int, int, int]:
        found = delivery.stats(0, None)
        assert found.emitted == found.delivered + found.waiting + found.spooled + found.lost
        return found.emitted, found.delivered, found.waiting, found.spooled, found.lost

    for _ in range(5):
        put(delivery, b"{}")
    assert accounts() == (5, 0, 5, 0, 0)
    delivery.note(delivery.next_batch(), Published(held=2, gap=False, log_id=""))
    assert accounts() == (5, 2, 3, 0, 0)
    batch = delivery.next_batch()
    delivery.note(batch, Published(held=1, gap=True, log_id=""))
    assert accounts() == (5, 1, 4, 0, 0)
    delivery.end()
    assert accounts() == (5, 1, 0, 4, 0)


def test_an_answer_that_cannot_be_right_is_refused(make: Callable[..., Delivery]) -> None:
    """The store took the batch and says that it holds less: the batch stays, and is sent again."""
    delivery = make(resume=ResumePoint("gone-1-abc", 6, "01"))
    put(delivery, b"{}")
    batch = delivery.next_batch()

    with pytest.raises(StoreError, match=r"^the store says that it holds 6 after a batch that begins with 7$"):
        delivery.note(batch, Published(held=6, gap=False, log_id=""))

    assert delivery.next_batch() == batch == Batch(Identity("gone-1-abc", "01"), 7, [b"{}"], skip=False)


def test_a_gap_that_cannot_be_filled_is_skipped_once(make: Callable[..., Delivery]) -> None:
    """What is no longer there must not hold up what follows."""
    delivery = make(resume=ResumePoint("gone-1-abc", 6, "01"))
    put(delivery, b"{}")
    batch = delivery.next_batch()

    delivery.note(batch, Published(held=4, gap=True, log_id=""))
    again = delivery.next_batch()
    delivery.note(again, Published(held=7, gap=False, log_id=""))

    assert again == replace(batch, skip=True)
    assert delivery.next_batch() == Batch(Identity("gone-1-abc", "01"), 8, [], skip=False)
    assert delivery.stats(0, None).lost == 2


def test_an_answer_after_the_end_changes_nothing(make: Callable[..., Delivery]) -> None:
    """The events are in the spool by then, and the process that sends them asks the store itself."""
    delivery = make()
    put(delivery, b"{}")
    batch = delivery.next_batch()
    [path] = delivery.end()
    before = delivery.stats(0, None)

    delivery.note(batch, Published(held=1, gap=False, log_id=""))

    assert delivery.stats(0, None) == before
    assert spooled(path) == [1]


def in_files(folder: Path) -> list[int]:
    """The numbers in files whose names say that their id is taken; no other files are there."""
    assert all(path.name.endswith(".taken.spool") for path in spool_files(folder))
    return [number for path in spool_files(folder) for number in spooled(path)]


def event(number: int) -> bytes:
    """An event that tells its number."""
    return b'{"n":%d}' % number


@pytest.mark.parametrize(
    ("options", "alone", "left"),
    [
        ({}, range(1, 13), range(0)),
        ({"durable": True}, range(0), range(1, 13)),
        ({"small": True}, [1, 2, 3, 4, 9, 10, 11, 12], range(5, 9)),
        ({"small": True, "read": True}, [1, 2, 3, 4, 9, 10, 11, 12], range(5, 9)),
    ],
    ids=["in memory", "durable", "spilled", "read from a file"],
)
def test_an_id_that_is_taken_is_given_up(
    make: Callable[..., Delivery],
    spool_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
    options: dict[str, Any],
    alone: Iterable[int],
    left: Iterable[int],
) -> None:
    """What is in memory alone is numbered again; what is in files stays there, and only there. It is delivered when the
    files are gone."""
    read = options.pop("read", False)
    if options.pop("small", False):
        monkeypatch.setattr(inbox, "INBOX_EVENTS", 4)
        monkeypatch.setattr(inbox, "SPILL_EVENTS", 2)
    delivery = make(batch_events=2, **options)
    for number in range(1, 5):
        put(delivery, event(number))
    batch = delivery.next_batch()
    for number in range(5, 13):
        put(delivery, event(number))
    while read and batch.first < 5:
        delivery.note(batch, Published(held=batch.first + 1, gap=False, log_id=""))
        batch = delivery.next_batch()

    delivery.note_taken(batch.who)

    assert delivery.who.producer != batch.who.producer
    assert delivery.who.token != batch.who.token
    [error] = logged("id_taken")
    assert f"under the id {batch.who.producer};" in error
    sent: list[bytes] = []
    while (following := delivery.next_batch()).events:
        assert (following.who, following.first) == (delivery.who, len(sent) + 1)
        sent += following.events
        delivery.note(following, Published(held=len(sent), gap=False, log_id=""))
    assert sent == [event(number) for number in alone]
    assert in_files(spool_dir) == list(left)
    stats = delivery.stats(0, None)
    assert (stats.emitted, stats.delivered, stats.spooled, stats.lost) == (12, len(sent), len(list(left)), 0)
    assert delivery.has_delivered(12) == (not left)
    for path in spool_files(spool_dir):
        path.unlink()
    delivery.note_recovered()
    assert delivery.has_delivered(12)
    assert delivery.stats(0, None).delivered == 12


def test_an_id_that_is_taken_again_is_given_up_again(make: Callable[..., Delivery]) -> None:
    """And an answer that comes late means the id before; what was delivered and is kept goes along, for the store has
    lost it."""
    delivery = make()
    first = delivery.who
    for number in range(1, 4):
        put(delivery, event(number))
    delivery.note(delivery.next_batch(), Published(held=3, gap=False, log_id="aa"))
    put(delivery, event(4))
    delivery.note_taken(first)
    delivery.note_taken(first)
    second = delivery.who

    assert delivery.next_batch() == Batch(second, 1, [event(number) for number in range(1, 5)], skip=False)
    delivery.note_taken(second)
    batch = delivery.next_batch()

    assert len({who.producer for who in (first, second, batch.who)}) == 3
    assert (batch.first, batch.events) == (1, [event(number) for number in range(1, 5)])
    delivery.note(batch, Published(held=4, gap=False, log_id="aa"))
    put(delivery, event(5))
    assert delivery.next_batch() == Batch(batch.who, 5, [event(5)], skip=False)
    stats = delivery.stats(0, None)
    assert (stats.emitted, stats.delivered, stats.waiting, stats.lost) == (5, 4, 1, 0)


def test_what_is_left_at_the_end_under_a_fresh_id_is_all_there(make: Callable[..., Delivery], spool_dir: Path) -> None:
    """The files of both ids are named."""
    delivery = make(durable=True)
    put(delivery, event(1))
    delivery.note_taken(delivery.next_batch().who)
    put(delivery, event(2))

    paths = delivery.end()

    assert sorted(paths) == spool_files(spool_dir)
    assert [spooled(path) for path in sorted(paths, key=lambda path: ".taken" in path.name)] == [[1], [1]]
    stats = delivery.stats(0, None)
    assert (stats.emitted, stats.delivered, stats.spooled) == (2, 0, 2)


def test_the_log_is_the_one_of_the_last_answer(make: Callable[..., Delivery], spool_dir: Path) -> None:
    """A store that was emptied has none at first; the file says what the producer knows."""
    delivery = make(durable=True)
    put(delivery, event(1))
    [path] = spool_files(spool_dir)

    def known() -> tuple[str, str]:
        return delivery.log_id, json.loads(path.read_bytes().splitlines()[0])["log_id"]

    found = [known()]
    for answer in (
        Published(held=1, gap=False, log_id="aa"),
        Published(held=0, gap=True, log_id=""),
        Published(held=1, gap=False, log_id="bb"),
    ):
        delivery.note(delivery.next_batch(), answer)
        found.append(known())

    assert found == [("", ""), ("aa", "aa"), ("aa", "aa"), ("bb", "bb")]
    assert spooled(path) == [1]
