"""Spool files whose producer is gone: they are sent once, under their own numbers, by whichever process finds them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect, shown
from etlog_producer import Producer, sender
from etlog_producer.publish import Publisher
from etlog_producer.spool import recovery
from etlog_producer.spool.recovery import Recovery
from etlog_producer.spool.writer import SpoolFolder
from support.logged import Logged
from support.producers import emit, numbered, spool_files
from support.proxy import Proxy
from support.samples import WINDOW
from support.servers import Server, wait_until
from support.stream import entries, numbers

pytestmark = pytest.mark.usefixtures("settles_soon")


@pytest.fixture
def left_behind(store_url: str, keys: Keys, spool_dir: Path) -> Callable[..., Path]:
    """Leaves a spool file of a producer that is gone, for the store of the test."""

    def leave(*sizes: int, producer: str = "gone-1-abc", first: int = 1) -> Path:
        folder = spool_dir / keys.name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{producer}.{first:020d}.spool"
        header = {"log": keys.name, "producer": producer, "store": shown(store_url)}
        window = {"start": WINDOW[0], "end": WINDOW[1]}
        lines = [
            f"{first + i} "
            + json.dumps(
                {"kind": "AssetSetSaved", "metadata": {"size": size, "window": window}, "time": "2022-06-03T17:07:54Z"}
            )
            for i, size in enumerate(sizes)
        ]
        path.write_text("\n".join([json.dumps(header), *lines]) + "\n")
        return path

    return leave


@pytest.fixture
def folder(store_url: str, keys: Keys, spool_dir: Path) -> SpoolFolder:
    """The folder of the test's log."""
    return SpoolFolder(spool_dir / keys.name, keys.name, shown(store_url))


def flush_all(found: Recovery) -> None:
    """Deliver everything that is adopted."""
    wait_until(lambda: found.step() is None, what="the spool to be delivered")


def test_a_later_producer_sends_what_another_left(server: Server, keys: Keys, spool_dir: Path) -> None:
    """Under the original id and numbers, even if it lives for one event only; then the file is gone."""
    server.kill()
    first = Producer(server.url, log=keys.name)
    emit(first, *range(1200))
    first.close(timeout=0)
    assert len(spool_files(spool_dir)) == 1

    server.start()
    with Producer(server.url, log=keys.name) as second:
        emit(second, 5000)

    assert spool_files(spool_dir) == []
    with connect(server.url, part="test") as client:
        found = [(entry.producer, entry.seq, entry.metadata["size"]) for entry in entries(client, keys)]
    assert found == [(second.id, 1, 5000), *((first.id, size + 1, size) for size in range(1200))]


@pytest.mark.parametrize(
    "tail", [b'4 {"kind":"AssetSetSav', b"4", b"\0" * 400, b'4 {"kind":"AssetSetSaved"}}\n', b"\xff\n"]
)
def test_a_broken_last_line_costs_that_line_alone(
    left_behind: Callable[..., Path],
    publish: Publisher,
    folder: SpoolFolder,
    client: redis.Redis,
    keys: Keys,
    tail: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported, and the file is set aside, so that someone can look at it."""
    path = left_behind(10, 11, 12)
    path.write_bytes(path.read_bytes() + tail)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [10, 11, 12]
    assert "Skipped a broken line in spool file" in caplog.text
    assert not path.exists()
    assert path.with_suffix(".broken").exists()


def test_a_broken_line_in_the_middle_leaves_a_hole_that_is_counted(
    left_behind: Callable[..., Path], publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """The others keep their numbers, so that the consumer sees the hole."""
    path = left_behind(*range(5))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"garbage\n"
    path.write_bytes(b"".join(lines))
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert numbers(client, keys) == [1, 2, 4, 5]
    assert [orphan.lost for orphan in found.done] == [1]


def test_two_who_flush_at_once_send_everything_once(
    left_behind: Callable[..., Path], publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """The second finds the files taken."""
    left_behind(*range(1500))
    one, other = Recovery(folder, publish), Recovery(folder, publish)
    one.look()
    other.look()

    assert other.step() is None
    flush_all(one)

    assert (len(one.done), len(other.done)) == (1, 0)
    assert numbers(client, keys) == list(range(1, 1501))


def test_who_is_killed_halfway_leaves_the_rest_to_the_next(
    left_behind: Callable[..., Path], publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """Nothing is doubled, wherever it stopped."""
    path = left_behind(*range(1500))
    one = Recovery(folder, publish)
    one.look()
    one.step()
    assert numbers(client, keys) == list(range(1, 501))
    one.release()
    assert path.exists()

    other = Recovery(folder, publish)
    other.look()
    flush_all(other)

    assert numbers(client, keys) == list(range(1, 1501))
    assert not path.exists()


def test_a_lost_reply_to_a_flush_doubles_nothing(
    left_behind: Callable[..., Path], proxy: Proxy, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """The same batch is sent again."""
    left_behind(*range(700))
    with connect(proxy.url, part="test", answer_timeout=0.3) as behind:
        found = Recovery(folder, Publisher(behind, keys))
        found.look()
        found.step()
        proxy.swallow_replies(True)
        with pytest.raises(redis.RedisError):
            found.step()
        proxy.swallow_replies(False)
        proxy.cut()
        flush_all(found)

    assert numbers(client, keys) == list(range(1, 701))


def test_a_store_that_loses_what_was_flushed_gets_it_again(
    left_behind: Callable[..., Path], publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """The file is deleted only when the store has kept it for a while."""
    left_behind(*range(700))
    found = Recovery(folder, publish)
    found.look()
    found.step()
    client.delete(keys.events, keys.producers)

    flush_all(found)

    assert numbers(client, keys) == list(range(1, 701))


def test_several_files_of_one_producer_are_sent_in_order(
    left_behind: Callable[..., Path], publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """Also where they overlap."""
    left_behind(*range(100, 200), first=101)
    left_behind(*range(110), first=1)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert numbered(client, keys) == [(size + 1, size) for size in range(200)]


def test_what_the_dead_producer_had_in_memory_shows_as_a_hole(
    left_behind: Callable[..., Path],
    publish: Publisher,
    folder: SpoolFolder,
    client: redis.Redis,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is gone, and the log will count it."""
    left_behind(*range(5), first=11)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert numbers(client, keys) == list(range(11, 16))
    assert "Events 1 to 10 of producer gone-1-abc are in no spool file" in caplog.text


def test_files_for_another_store_are_left_alone(
    left_behind: Callable[..., Path], folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """A log of the same name elsewhere is another log; who knows better may say so."""
    path = left_behind(1, 2)
    moved = SpoolFolder(folder.path, folder.log, "redis://elsewhere:6379/0")
    found = Recovery(moved, publish)
    found.look()
    assert found.step() is None
    assert path.exists()

    wanted = Recovery(moved, publish, any_store=True)
    wanted.look()
    flush_all(wanted)

    assert numbers(client, keys) == [1, 2]


def test_the_files_of_a_living_producer_are_its_own(
    dead_url: str, keys: Keys, spool_dir: Path, publish: Publisher
) -> None:
    """No one adopts them while it lives."""
    producer = Producer(dead_url, log=keys.name, durable=True)
    emit(producer, 1)
    found = Recovery(SpoolFolder(spool_dir / keys.name, keys.name, dead_url), publish)
    found.look()
    assert found.step() is None
    producer.close(timeout=0)

    found.look()
    flush_all(found)

    assert spool_files(spool_dir) == []


def test_an_idle_producer_finds_what_is_left_behind_later(
    left_behind: Callable[..., Path],
    producer: Producer,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    """It looks about once a minute."""
    monkeypatch.setattr("etlog_producer.sender.LOOK", 0.2)
    emit(producer, 1)
    assert producer.flush(10)

    path = left_behind(5, 6)

    wait_until(lambda: not path.exists(), what="the file to be delivered")
    assert [entry.producer for entry in entries(client, keys)] == [producer.id, "gone-1-abc", "gone-1-abc"]
    assert logged("spool_delivered") == ["Delivered 2 events of producer gone-1-abc from the spool"]


def test_an_error_is_over_once_the_last_file_is_gone(
    store_url: str, keys: Keys, left_behind: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sender does last for another producer tells as much as what it does first."""
    failures = iter([OSError("the disk is busy")])
    delete = recovery.Orphan._delete

    def fail_once(orphan: recovery.Orphan) -> None:
        for failure in failures:
            raise failure
        delete(orphan)

    monkeypatch.setattr(recovery.Orphan, "_delete", fail_once)
    monkeypatch.setattr(sender, "PROBE", 3600.0)
    path = left_behind(1)
    with Producer(store_url, log=keys.name) as producer:
        emit(producer, 1)
        wait_until(lambda: not path.exists(), what="the file to be gone")

        wait_until(lambda: producer.last_error is None, what="the error to be over")
        assert producer.stats().retries == 1
