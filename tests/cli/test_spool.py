"""`etlog spool`: what waits on the disk is shown and sent."""

import os
from contextlib import closing
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from etlog.__main__ import run
from etlog.spool_files import SpoolMetrics, State, files, folder_of, held_log_id, of_other_logs
from etlog_events.keys import Keys
from etlog_events.sequence import SENT_WITHIN
from etlog_events.settings import Settings
from etlog_producer import Producer
from etlog_producer.publish import Identity, Publisher
from etlog_producer.spool.writer import SpoolWriter
from prometheus_client import CollectorRegistry
from support.proxy import Proxy
from support.samples import WINDOW, saved
from support.servers import Server, free_port, wait_until
from support.stream import Client, numbers


@pytest.fixture(autouse=True)
def spool_dir(plain_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for spool files."""
    monkeypatch.setenv("ETLOG_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setattr("etlog_producer.spool.recovery.SETTLE", 0.05)
    return tmp_path / "spool"


def leave(url: str, log: str, count: int) -> str:
    """Leave events in the spool. Returns their producer's id."""
    producer = Producer(url, log=log)
    for size in range(count):
        producer.emit("AssetSetSaved", size=size, window=WINDOW)
    producer.close(0)
    return producer.id


def test_an_empty_spool_is_said_to_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """With the folder that was looked into."""
    assert run(["spool", "list", "--log", "nightly"]) == 0

    assert "no spool files of log nightly in /" in capsys.readouterr().out


def test_files_are_listed_and_flushed(server: Server, capsys: pytest.CaptureFixture[str], spool_dir: Path) -> None:
    """With the number of their events and their age; then they are gone."""
    server.kill()
    producer = leave(server.url, "nightly", 1234)
    options = ["--redis-url", server.url, "--log", "nightly"]

    assert run(["spool", "list", *options]) == 0
    listed = capsys.readouterr().out
    assert f"{producer}.00000000000000000001." in listed
    assert " 1234 " in listed
    assert run(["spool", "flush", *options]) == 3
    assert "the files are kept" in capsys.readouterr().err

    server.start()
    assert run(["spool", "flush", *options]) == 0

    assert "1234 events delivered from the spool to log nightly" in capsys.readouterr().out
    assert not list(spool_dir.rglob("*.spool"))
    with redis.Redis.from_url(server.url) as client:
        assert numbers(client, Keys("nightly")) == list(range(1, 1235))


def test_files_that_are_too_old_are_set_aside(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    spool_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The store may have the events and know nothing of their numbers any more; the command fails, and says where."""
    producer = leave(f"redis://127.0.0.1:{free_port()}/0", keys.name, 3)
    [path] = spool_dir.rglob("*.spool")
    old = time() - SENT_WITHIN - 60
    os.utime(path, (old, old))

    assert run(["spool", "flush", "--any-store", "--redis-url", store_url, "--log", keys.name]) == 1

    captured = capsys.readouterr()
    aside = path.with_suffix(".old")
    assert "0 events delivered" in captured.out
    assert captured.err.count("\n") == 1
    assert "1 file too old to send" in captured.err
    assert str(aside) in captured.err
    assert producer in aside.read_text()
    assert client.xlen(keys.events) == 0
    assert run(["spool", "flush", "--any-store", "--redis-url", store_url, "--log", keys.name]) == 0


def test_files_for_another_store_are_flushed_only_if_wanted(
    store_url: str, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store may have moved, or it may be quite another one."""
    leave(f"redis://127.0.0.1:{free_port()}/0", keys.name, 3)
    options = ["--redis-url", store_url, "--log", keys.name]

    assert run(["spool", "flush", *options]) == 1
    assert "1 file for another store left; " in capsys.readouterr().err
    assert client.xlen(keys.events) == 0

    assert run(["spool", "flush", "--any-store", *options]) == 0
    assert numbers(client, keys) == [1, 2, 3]


@pytest.mark.parametrize(("damage", "sent"), [("event", 2), ("header", 3)])
def test_a_damaged_file_is_told(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    spool_dir: Path,
    capsys: pytest.CaptureFixture[str],
    damage: str,
    sent: int,
) -> None:
    """What is wrong with it, and where it lies; what is intact is sent, and the command fails."""
    leave_new(store_url, keys.name, 3)
    [path] = spool_dir.rglob("*.spool")
    text = path.read_bytes()
    place = text.index(b'"size":1' if damage == "event" else b'"log"')
    path.write_bytes(text[: place + 2] + bytes([text[place + 2] ^ 1]) + text[place + 3 :])
    options = ["--redis-url", store_url, "--log", keys.name]

    assert run(["spool", "list", *options]) == 0
    assert " 1 broken " in capsys.readouterr().out
    assert run(["spool", "flush", *options]) == 1

    captured = capsys.readouterr()
    aside = path.with_suffix(".broken")
    begin = 0 if damage == "header" else text.rfind(b"\n", 0, place) + 1
    assert f"{sent} events delivered" in captured.out
    said = captured.err.splitlines()[-1]
    assert f"1 file damaged: the intact events were sent, and the others count as lost; set aside as {aside} " in said
    assert f"(1 broken line, the first at byte {begin})" in said
    assert ("1 event is missing or damaged" in captured.err) is (sent == 2)
    assert "ERROR" not in captured.err
    assert len(numbers(client, keys)) == sent
    assert run(["spool", "flush", *options]) == 0
    capsys.readouterr()
    assert run(["spool", "list", *options]) == 0
    [listed] = capsys.readouterr().out.splitlines()[1:]
    assert listed.split()[0] == "0"
    assert " broken " in listed
    assert listed.endswith(str(aside))


def test_files_that_cannot_be_used_are_told(
    store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the reason for each; they are not taken for files of another store, and hold up no other."""
    leave_new(store_url, keys.name, 3)
    [path] = spool_dir.rglob("*.spool")
    beheaded, planted = (path.with_name(path.name.replace("new-1", name)) for name in ("a-1", "b-1"))
    beheaded.write_bytes(path.read_bytes().replace(b'"log"', b'"l0g"'))
    os.mkfifo(planted)
    options = ["--redis-url", store_url, "--log", keys.name]

    assert run(["spool", "list", *options]) == 0
    listed = {line.split()[-1]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert " unknown log " in listed[str(beheaded)]
    assert " ignored " in listed[str(planted)]
    assert run(["spool", "flush", *options]) == 1

    captured = capsys.readouterr()
    assert "3 events delivered" in captured.out
    assert "2 files not sent: " in captured.err
    assert f"{beheaded} (its header is damaged" in captured.err
    assert f"{planted} (it is ignored: it is no regular file; remove it, or put the file itself there)" in captured.err
    assert "another store" not in captured.err
    assert run(["spool", "flush", "--any-store", *options]) == 1
    assert "3 events delivered" in capsys.readouterr().out
    assert len(numbers(client, keys)) == 6


def test_a_folder_of_another_user_is_refused(
    store_url: str, keys: Keys, spool_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one sentence, with what to do; it is a mistake of the one who named it."""
    leave_new(store_url, keys.name, 1)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 12345)
    for command in ("list", "flush"):
        assert run(["spool", command, "--redis-url", store_url, "--log", keys.name]) == 2

        said = capsys.readouterr().err
        assert f"the spool folder {spool_dir / keys.name} belongs to user" in said
        assert f"({me}) or as root" in said
        assert "ETLOG_SPOOL_DIR" not in said
        assert said.count("\n") == 1
    assert of_other_logs(folder_of(Settings(redis_url=store_url, name=keys.name, spool_dir=spool_dir)), "x") == []


def leave_new(url: str, log: str, count: int) -> None:
    """Leave events in the spool whose producer had not reached the store before, though that is there."""
    folder = folder_of(Settings(redis_url=url, name=log, spool_dir=Path(os.environ["ETLOG_SPOOL_DIR"])))
    writer = SpoolWriter(folder, Identity("new-1-abc", "9f8e7d6c5b4a3210"))
    writer.append(1, [saved(size) for size in range(count)])
    writer.close()


def leave_known(url: str, log: str, count: int) -> Path:
    """Leave events in the spool whose producer has reached the store before, once. Returns the file."""
    port = urlsplit(url).port
    assert port is not None
    with closing(Proxy(port)) as proxy:
        producer = Producer(proxy.url, log=log)
        producer.emit("AssetSetSaved", size=1000, window=WINDOW)
        assert producer.flush(20)
        proxy.swallow_replies(True)
        proxy.cut()
    for size in range(count):
        producer.emit("AssetSetSaved", size=size, window=WINDOW)
    wait_until(lambda: producer.last_error, what="an attempt to fail")
    producer.close(0)
    [path] = Path(os.environ["ETLOG_SPOOL_DIR"]).rglob(f"{producer.id}*.spool")
    return path


def replace_log(client: Client, keys: Keys) -> None:
    """Put another log of that name in the place of the one that was there."""
    client.delete(*client.keys(f"etlog:{{{keys.name}}}:*"))
    Publisher(client, keys)(Identity("someone"), 1, [saved(7)])


def test_files_find_their_log_at_another_address(
    store_url: str, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """They were written for an address that is gone; the log is the same."""
    path = leave_known(store_url, keys.name, 3)

    assert run(["spool", "flush", "--redis-url", store_url, "--log", keys.name]) == 0

    assert "3 events delivered" in capsys.readouterr().out
    assert numbers(client, keys) == [1, 2, 3, 4]
    assert not path.exists()


def test_files_for_another_log_are_named_and_sent_only_if_wanted(
    store_url: str, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store was emptied since. They hold up no other file."""
    kept = leave_known(store_url, keys.name, 3)
    replace_log(client, keys)
    leave_new(store_url, keys.name, 2)
    elsewhere = leave(f"redis://127.0.0.1:{free_port()}/0", keys.name, 1)
    options = ["--redis-url", store_url, "--log", keys.name]

    assert run(["spool", "list", *options]) == 0
    listed = {line.split()[-1]: line for line in capsys.readouterr().out.splitlines()[1:]}
    assert " other log " in listed[str(kept)]
    assert sorted("waiting" in line for line in listed.values()) == [False, True, True]

    assert run(["spool", "flush", *options]) == 1
    captured = capsys.readouterr()
    assert "2 events delivered" in captured.out
    assert f"1 file for another log ({kept}) and 1 file for another store left" in captured.err
    assert len(captured.err.splitlines()) == 1
    assert numbers(client, keys) == [1, 1, 2]

    assert run(["spool", "flush", "--any-store", *options]) == 0
    assert "4 events delivered" in capsys.readouterr().out
    assert len(numbers(client, keys)) == 7
    assert elsewhere


def test_files_of_a_log_that_was_begun_again_are_named(
    store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the same address: it is of no use to flush them there once more."""
    folder = folder_of(Settings(redis_url=store_url, name=keys.name, spool_dir=spool_dir))
    writer = SpoolWriter(folder, Identity("new-1-abc", "9f8e7d6c5b4a3210"), log_id="c3ab")
    writer.append(1, [saved(1)])
    [path] = writer.paths
    writer.close()
    Publisher(client, keys)(Identity("someone"), 1, [saved(7)])
    options = ["--redis-url", store_url, "--log", keys.name]

    assert run(["spool", "flush", *options]) == 1

    said = capsys.readouterr().err
    assert f"1 file for an earlier log {keys.name} of this store ({path}), which was deleted and begun again" in said
    assert "another" not in said
    assert run(["spool", "flush", "--any-store", *options]) == 0
    assert not path.exists()


@pytest.mark.parametrize("delivered", [2, 3])
def test_a_file_shows_what_is_not_delivered_yet(
    store_url: str, keys: Keys, spool_dir: Path, capsys: pytest.CaptureFixture[str], delivered: int
) -> None:
    """By its marks; one that is delivered only awaits its deletion, and the metric says the same."""
    settings = Settings(redis_url=store_url, name=keys.name, spool_dir=spool_dir)
    writer = SpoolWriter(folder_of(settings), Identity("new-1-abc", "9f8e7d6c5b4a3210"))
    writer.append(1, [saved(size) for size in range(3)])
    writer.mark(delivered)
    writer.close()

    assert run(["spool", "list", "--redis-url", store_url, "--log", keys.name]) == 0

    state = State.DELIVERED if delivered == 3 else State.WAITING
    [line] = capsys.readouterr().out.splitlines()[1:]
    assert line.split()[0] == str(3 - delivered)
    assert f" {state.value} " in line
    registry = CollectorRegistry()
    registry.register(SpoolMetrics(settings))
    assert registry.get_sample_value("etlog_spool_files", {"log": keys.name, "state": state.value}) == 1


def test_files_are_listed_without_the_store(server: Server, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether their log is there is not known then."""
    path = leave_known(server.url, keys.name, 3)
    server.kill()

    assert run(["spool", "list", "--redis-url", server.url, "--log", keys.name]) == 0

    [line] = capsys.readouterr().out.splitlines()[1:]
    assert line.split()[-1] == str(path)
    assert " waiting " in line


def test_files_of_other_logs_can_be_asked_for(store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path) -> None:
    """Those that wait for a log that is not there, and no others."""
    settings = Settings(redis_url=store_url, name=keys.name, spool_dir=spool_dir)
    folder = folder_of(settings)
    assert of_other_logs(folder, "") == []
    kept = leave_known(store_url, keys.name, 1)
    present = held_log_id(settings, keys.name)
    assert present
    leave_new(store_url, keys.name, 1)

    assert of_other_logs(folder, present) == []
    assert of_other_logs(folder, "") == of_other_logs(folder, "another") == [kept]
    client.delete(keys.id)
    assert held_log_id(settings, keys.name) == ""
    assert held_log_id(Settings(redis_url=f"redis://127.0.0.1:{free_port()}"), keys.name) is None


def test_the_metrics_tell_how_many_files_there_are(
    store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path
) -> None:
    """By their state, at the moment of a scrape; whole files are not read."""
    settings = Settings(redis_url=store_url, name=keys.name, spool_dir=spool_dir)
    registry = CollectorRegistry()
    registry.register(SpoolMetrics(settings))

    def scraped() -> dict[State, Any]:
        found = {
            state: registry.get_sample_value("etlog_spool_files", {"log": keys.name, "state": state.value})
            for state in State
        }
        return {state: number for state, number in found.items() if number != 0}

    assert scraped() == {}
    leave_known(store_url, keys.name, 1)
    assert scraped() == {State.WAITING: 1}
    replace_log(client, keys)
    leave_new(store_url, keys.name, 1)
    [old] = [path for path in spool_dir.rglob("*.spool") if state_of(settings, path) is State.WAITING]
    old.rename(old.with_suffix(".old"))
    (old.parent / "gone-1-abc.00000000000000000001.broken").write_text("")
    with Producer(store_url, log=keys.name, durable=True) as producer:
        producer.emit("AssetSetTotaled", window=WINDOW)
        expected = {State.IN_USE: 1, State.OTHER_LOG: 1, State.OLD: 1, State.BROKEN: 1}
        wait_until(lambda: scraped() == expected, what="the producer to let go of the file that is not for its log")
    assert scraped() == {State.OTHER_LOG: 1, State.OLD: 1, State.BROKEN: 1}


def state_of(settings: Settings, path: Path) -> State:
    """What is listed of a file, with the log of the store."""
    found = files(folder_of(settings), held_log_id(settings, settings.name))
    return next(file.state for file in found if file.path == path)
