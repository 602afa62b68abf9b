"""A file of events: delivered line by line, each event once, whatever interrupts it."""

import fcntl
import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import time
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from etlog import event_file
from etlog.__main__ import run
from etlog.bookmark import Bookmark
from etlog.errors import CommandFailed
from etlog.event_file import Emitted, emit_file
from etlog_events.entry import contents
from etlog_events.keys import Keys
from etlog_events.sequence import SENT_WITHIN
from etlog_events.settings import Settings
from etlog_events.store import shown
from etlog_producer import delivery, sender
from etlog_producer.publish import Identity, Published, Publisher
from support import commands
from support.consumers import CaughtUp, Consuming
from support.proxy import Proxy
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import records

pytestmark = pytest.mark.usefixtures("own_log")


def line(number: int) -> str:
    """An event as a line."""
    return saved(number).decode() + "\n"


def stored(client: Any, keys: Keys) -> Iterator[str]:
    """The events in the stream, as lines."""
    last = b"-"
    while entries := client.xrange(keys.events, min=last, count=100):
        for _, fields in entries:
            for event in contents([text for pair in fields.items() for text in pair]).events:
                yield event.decode() + "\n"
        last = b"(" + entries[-1][0]


def published(client: Any, keys: Keys) -> int:
    """How many events the log has got."""
    return int(client.hget(keys.stats, "published") or 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a test."""
    return tmp_path / "events.ndjson"


@pytest.fixture
def settings(store_url: str, keys: Keys, tmp_path: Path) -> Settings:
    """The test's own log."""
    return Settings(redis_url=store_url, name=keys.name, spool_dir=tmp_path / "spool")


def bookmark(settings: Settings) -> Path:
    """The only bookmark."""
    [path] = settings.spool_dir.rglob("*.place")
    return path


def assert_finished(settings: Settings, events: int) -> None:
    """Nothing is left but a bookmark that says that the file is finished, after so many events."""
    [path] = (path for path in settings.spool_dir.rglob("*") if not path.is_dir())
    saved = json.loads(path.read_bytes())
    assert (path.suffix, saved["finished"], saved["events"]) == (".place", True, events)


def test_every_line_is_an_event(client: redis.Redis, keys: Keys, settings: Settings, file: Path) -> None:
    """Blank lines are not events, the last line need not end, and both kinds of line ends are understood."""
    file.write_bytes(f"\n{line(1)[:-1]}\r\n   \n{line(2)}\n{line(3)[:-1]}".encode())

    assert emit_file(str(file), settings).events == 3
    assert list(stored(client, keys)) == [line(1), line(2), line(3)]


def test_a_run_that_was_not_interrupted_leaves_a_bookmark_that_says_so(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path
) -> None:
    """And nothing else."""
    file.write_text("".join(map(line, range(12_000))))

    assert emit_file(str(file), settings) == Emitted(12_000)

    assert list(stored(client, keys)) == list(map(line, range(12_000)))
    assert_finished(settings, 12_000)


def test_a_dash_is_standard_input(client: redis.Redis, keys: Keys) -> None:
    """So events can come out of a pipe."""
    ended = commands.run("emit", "--file", "-", input=line(1) + line(2))

    assert (ended.returncode, ended.stdout) == (0, f"2 events delivered to log {keys.name}\n")
    assert list(stored(client, keys)) == [line(1), line(2)]


def test_a_standard_input_that_is_closed_is_one_sentence() -> None:
    """As a service may have it."""
    shell = ["sh", "-c", '"$0" -m etlog emit --file - <&- >&-', sys.executable]

    ended = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (2, "etlog: --file: standard input is closed\n")


def test_a_terminal_shows_progress(file: Path) -> None:
    """It is gone at the end, and what is left is the result."""
    file.write_text("".join(map(line, range(10))))

    with commands.running("emit", "--file", str(file), columns=80) as command:
        assert command.wait() == 0

    assert "emitting" in command.printed
    assert "10 events delivered" in command.shown


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "not JSON"),
        ("[]", ""),
        ('"text"', ""),
        (line(3).replace("AllocationSetSaved", "AllocationSetShaken"), "AllocationSetShaken"),
        (line(3).replace('"size":3', '"size":-3'), "size"),
        (line(3).replace("T10:", "T12:"), "window"),
        ("x" * 3_000_000, "bytes long"),
        ("\x00\x1b[31m", ""),
    ],
)
def test_an_invalid_line_is_named_and_the_events_before_it_are_delivered(
    bad: str, reason: str, client: redis.Redis, keys: Keys, settings: Settings, file: Path
) -> None:
    """The number counts all lines, blank ones too, as an editor does."""
    file.write_text(f"{line(1)}\n{line(2)}{bad.rstrip()}\n{line(4)}")

    with pytest.raises(CommandFailed) as failed:
        emit_file(str(file), settings)

    message = str(failed.value)
    assert message.startswith("line 4: ")
    assert message.endswith("; the 2 events before it are delivered")
    assert reason in message
    assert len(message.splitlines()) == 1
    assert len(message) < 500
    assert failed.value.code == 2
    assert list(stored(client, keys)) == [line(1), line(2)]


#: `etlog`, which leaves its peak of memory in KiB in the file that is named first. What `wait4` tells of a process
#: begins with the memory of the one that it was forked from.
MEASURED = """
import re, sys
from pathlib import Path
from etlog.__main__ import run
code = run(sys.argv[2:])
Path(sys.argv[1]).write_text(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def test_a_large_file_is_delivered_whole_in_bounded_memory(client: redis.Redis, keys: Keys, tmp_path: Path) -> None:
    """Three times what a producer lets wait, while no consumer takes anything away."""
    count = 300_000
    with gzip.open(tmp_path / "events.gz", "wt", compresslevel=1) as file:
        file.writelines(line(number) for number in range(count))

    with (
        subprocess.Popen(["gzip", "-dc", str(tmp_path / "events.gz")], stdout=subprocess.PIPE) as lines,
        (tmp_path / "out").open("w+") as out,
    ):
        command = [sys.executable, "-c", MEASURED, str(tmp_path / "peak"), "emit", "--file", "-"]
        ended = subprocess.run(command, stdin=lines.stdout, stdout=out, stderr=out, check=False)
        out.seek(0)

        assert (ended.returncode, out.read()) == (0, f"{count} events delivered to log {keys.name}\n")
    assert all(text == line(number) for number, text in enumerate(stored(client, keys)))
    assert published(client, keys) == count
    assert int((tmp_path / "peak").read_text()) < 200 * 1024  # KiB


def test_a_slow_store_is_waited_for(
    keys: Keys, settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """It takes longer than the patience with a store that accepts nothing, and nothing is given up."""
    monkeypatch.setattr(event_file, "PATIENCE", 1)
    file.write_text("".join(map(line, range(5000))))

    with closing(Proxy(server.port)) as proxy:
        proxy.delay_replies(0.1)

        assert emit_file(str(file), replace(settings, redis_url=proxy.url)).events == 5000

    with redis.Redis.from_url(server.url) as slow:
        assert list(stored(slow, keys)) == [line(number) for number in range(5000)]


def test_a_store_that_goes_away_for_good_is_given_up(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """With exit code 1, and with what is certain to have arrived."""
    monkeypatch.setattr(event_file, "PATIENCE", 1)
    monkeypatch.setattr(event_file, "ROUND", 10)

    def lines() -> Iterator[bytes]:
        for number in range(15):
            yield line(number).encode()
        server.kill()
        for number in range(15, 30):
            yield line(number).encode()

    monkeypatch.setattr(event_file, "_open", lambda _: Pipe(lines()))

    with pytest.raises(CommandFailed, match=r"no longer accepts events: .*; 10 events are delivered") as failed:
        emit_file("-", replace(settings, redis_url=server.url))

    assert failed.value.code == 1


def test_a_store_that_is_restarted_meanwhile_gets_everything(
    keys: Keys, settings: Settings, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """Each event once."""
    monkeypatch.setattr(event_file, "ROUND", 10)

    def lines() -> Iterator[bytes]:
        for number in range(15):
            yield line(number).encode()
        with redis.Redis.from_url(server.url) as client:
            client.shutdown(nosave=True)
        server.kill()
        server.start()
        for number in range(15, 30):
            yield line(number).encode()

    monkeypatch.setattr(event_file, "_open", lambda _: Pipe(lines()))

    assert emit_file("-", replace(settings, redis_url=server.url)).events == 30
    with redis.Redis.from_url(server.url) as client:
        assert list(stored(client, keys)) == [line(number) for number in range(30)]


def test_a_run_that_was_interrupted_goes_on_without_doubling(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path
) -> None:
    """Twice, by Ctrl-C."""
    file.write_text("".join(map(line, range(60_000))))
    for resume in ([], ["--resume"]):
        before = published(client, keys)
        with commands.running("emit", "--file", str(file), *resume) as command:
            wait_until(lambda: published(client, keys) > before + 9000, what="some events")  # noqa: B023
            command.stop(signal.SIGINT)
            assert command.wait() == 130

    assert run(["emit", "--file", str(file), "--resume"]) == 0

    assert list(stored(client, keys)) == list(map(line, range(60_000)))
    assert_finished(settings, 60_000)


def test_a_file_that_changed_is_not_resumed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines would not be those that were left out."""
    file.write_text(line(0) + "{}\n")
    assert run(["emit", "--file", str(file)]) != 0
    file.write_text(line(5))

    assert run(["emit", "--file", str(file), "--resume"]) == 2

    assert "has changed in a part that was already emitted" in capsys.readouterr().err


def test_a_file_with_a_skipped_line_that_was_corrected_is_not_resumed(
    client: redis.Redis, keys: Keys, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it stands: every event after it would go out under the number of the one before."""
    lines = [*map(line, range(7_000)), "{}\n", *map(line, range(7_001, 60_000))]
    file.write_text("".join(lines))
    with commands.running("emit", "--file", str(file), "--on-error", "skip") as command:
        wait_until(lambda: published(client, keys) > 9_000, what="some events")
        command.stop(signal.SIGKILL)
    lines[7_000] = line(7_000)
    file.write_text("".join(lines))

    assert run(["emit", "--file", str(file), "--resume"]) == 2

    assert "has changed in a part that was already emitted" in capsys.readouterr().err


def test_a_line_that_stopped_a_run_may_be_corrected(client: redis.Redis, keys: Keys, file: Path) -> None:
    """Nothing from there on was emitted; what is before it is not doubled."""
    lines = [*map(line, range(6_000)), "{}\n", *map(line, range(6_001, 6_100))]
    file.write_text("".join(lines))
    assert run(["emit", "--file", str(file)]) == 2
    lines[6_000] = line(6_000)
    file.write_text("".join(lines))

    assert run(["emit", "--file", str(file), "--resume"]) == 0

    assert list(stored(client, keys)) == list(map(line, range(6_100)))


def test_a_place_that_is_too_old_is_not_resumed(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store may have forgotten the numbers, and would take everything again."""
    file.write_text(line(0) + "{}\n")
    assert run(["emit", "--file", str(file)]) == 2
    [place] = settings.spool_dir.rglob("*.place")
    old = time() - SENT_WITHIN - 60
    os.utime(place, (old, old))

    assert run(["emit", "--file", str(file), "--resume"]) == 1

    assert "was interrupted more than 60 days ago" in capsys.readouterr().err
    assert list(stored(client, keys)) == [line(0)]


def test_a_named_pipe_is_emitted_whole(client: redis.Redis, keys: Keys, settings: Settings, tmp_path: Path) -> None:
    """It can be read only once, from its first byte."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("".join(map(line, range(100))),))
    writer.start()

    assert emit_file(str(pipe), settings).events == 100

    writer.join()
    assert list(stored(client, keys)) == list(map(line, range(100)))


def interrupt(file: Path) -> None:
    """A run over a file of 6,100 lines that ends at line 6,001, which is bad; it is corrected then."""
    lines = [*map(line, range(6_000)), "{}\n", *map(line, range(6_001, 6_100))]
    file.write_text("".join(lines))
    assert run(["emit", "--file", str(file)]) == 2
    lines[6_000] = line(6_000)
    file.write_text("".join(lines))


def test_the_producer_of_an_interrupted_run_has_not_ended(
    client: redis.Redis,
    keys: Keys,
    settings: Settings,
    file: Path,
    consuming: Consuming,
    caught_up: CaughtUp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though all that it has emitted is delivered and applied: the next run goes on under its id. That one ends it."""
    monkeypatch.setattr(sender, "STRAY", 0.0)  # no call of the first run can be under way any more
    interrupt(file)
    with consuming():
        caught_up()
    [(producer, record)] = records(client, keys).items()
    assert (record.published, record.applied, record.closed) == (6_000, 6_000, False)
    kept = json.loads(bookmark(settings).read_bytes())
    assert (kept["producer"], kept["token"].encode()) == (producer, record.token)
    assert kept["log_id"].encode() == client.get(keys.id)

    assert run(["emit", "--file", str(file), "--resume"]) == 0

    assert list(stored(client, keys)) == list(map(line, range(6_100)))
    assert records(client, keys)[producer].closed


def test_a_bookmark_is_finished_before_its_producer_ends(
    settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And on the disk: with one that goes on under a producer that the store has forgotten, everything would be emitted
    again."""
    kept: list[bool] = []
    synced: list[int] = []
    close, sync = Publisher.close, os.fsync

    def looking(publish: Publisher, *arguments: Any) -> Published:
        kept.append(json.loads(bookmark(settings).read_bytes())["finished"])
        assert bookmark(settings).stat().st_ino in synced
        return close(publish, *arguments)

    def syncing(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(Publisher, "close", looking)
    monkeypatch.setattr(os, "fsync", syncing)
    file.write_text("".join(map(line, range(10))))

    assert emit_file(str(file), settings).events == 10

    assert kept == [True]


def test_a_run_that_ends_before_its_bookmark_is_finished_can_be_resumed(
    client: redis.Redis,
    keys: Keys,
    settings: Settings,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    consuming: Consuming,
) -> None:
    """All is delivered and applied by then: nothing is doubled, and nothing said to be delivered now."""

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    file.write_text("".join(map(line, range(7_000))))
    with consuming():
        with monkeypatch.context() as dying:
            dying.setattr(Bookmark, "finish", die)
            with pytest.raises(KeyboardInterrupt):
                emit_file(str(file), settings)
        wait_until(lambda: client.hget(keys.stats, "applied") == b"7000", what="all to be applied")

    assert emit_file(str(file), settings, resume=True) == Emitted(0, 7_000)

    assert list(stored(client, keys)) == list(map(line, range(7_000)))
    assert_finished(settings, 7_000)


def test_a_resumed_run_tells_how_many_events_it_has_delivered(settings: Settings, file: Path) -> None:
    """Not how many lines it read: those behind the bookmark that the store had are not counted twice."""
    interrupt(file)
    assert json.loads(bookmark(settings).read_bytes())["events"] < 6_000

    assert emit_file(str(file), settings, resume=True) == Emitted(100, 6_000)


def test_a_finished_file_is_not_emitted_again_by_resume(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However often; without the option it is, as was said."""
    file.write_text("".join(map(line, range(100))))
    assert run(["emit", "--file", str(file)]) == 0
    capsys.readouterr()

    for _ in range(2):
        assert run(["emit", "--file", str(file), "--resume"]) == 0
        assert capsys.readouterr() == (f"already emitted: 100 events of {file}, to log {keys.name}\n", "")
    assert published(client, keys) == 100
    assert_finished(settings, 100)

    assert run(["emit", "--file", str(file)]) == 0
    assert capsys.readouterr().out == f"100 events delivered to log {keys.name}\n"
    assert published(client, keys) == 200


@pytest.mark.parametrize("end", ["\n", ""])
def test_what_was_appended_to_a_finished_file_is_emitted_alone(
    client: redis.Redis,
    keys: Keys,
    settings: Settings,
    file: Path,
    consuming: Consuming,
    caught_up: CaughtUp,
    capsys: pytest.CaptureFixture[str],
    end: str,
) -> None:
    """Under another id: the store may have forgotten the first one, whose numbers would count again."""
    lines = list(map(line, range(100)))
    file.write_text("".join(lines).removesuffix("\n") + end)
    with consuming():
        assert run(["emit", "--file", str(file)]) == 0
        caught_up()
        first = json.loads(bookmark(settings).read_bytes())["producer"]
        wait_until(lambda: first.encode() not in client.hkeys(keys.producers), what="the producer to be forgotten")
        with file.open("a") as appended:
            appended.writelines(("\n" * (not end), *map(line, range(100, 110)), "{}\n"))
        capsys.readouterr()

        assert run(["emit", "--file", str(file), "--resume"]) == 2
        assert "line 111: " in capsys.readouterr().err
        file.write_text(file.read_text().removesuffix("{}\n") + line(110))
        assert run(["emit", "--file", str(file), "--resume"]) == 0
        said = capsys.readouterr().out
        caught_up()

    assert said == f"1 event delivered to log {keys.name}, after 110 events of earlier runs\n"
    assert list(stored(client, keys)) == list(map(line, range(111)))
    stats = {name: int(count) for name, count in client.hgetall(keys.stats).items()}
    assert (stats[b"applied"], stats.get(b"lost", 0)) == (111, 0)
    assert json.loads(bookmark(settings).read_bytes())["producer"] != first
    assert_finished(settings, 111)


@pytest.mark.parametrize("how", ["changed", "shortened", "goes on"])
def test_a_finished_file_that_changed_is_not_resumed(
    client: redis.Redis, keys: Keys, file: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """Also when its last line, which had no end, goes on: it is another event now."""
    text = line(0) + line(1)[:-1]
    file.write_text(text)
    assert run(["emit", "--file", str(file)]) == 0
    file.write_text({"changed": text.replace("0,", "2,"), "shortened": line(0), "goes on": text + line(2)}[how])

    assert run(["emit", "--file", str(file), "--resume"]) == 2

    assert "has changed in a part that was already emitted; put the missing events into" in capsys.readouterr().err
    assert published(client, keys) == 2


@pytest.mark.parametrize("how", ["never there", "lost"])
def test_without_a_bookmark_nothing_is_resumed(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """To begin again would double what is there."""
    file.write_text(line(0))
    if how == "lost":
        assert run(["emit", "--file", str(file)]) == 0
        bookmark(settings).unlink()
    before = published(client, keys)
    capsys.readouterr()

    assert run(["emit", "--file", str(file), "--resume"]) == 2

    folder = settings.spool_dir / settings.name
    assert capsys.readouterr().err == (
        f"etlog: --resume: there is no bookmark of a run over {file} in {folder}, so there is nothing to continue; "
        "leave out --resume to emit it from its start\n"
    )
    assert published(client, keys) == before
    assert not list(folder.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"file":"x"}', '{"offset":-1', "\udcff", "[" * 100_000])
def test_a_damaged_bookmark_is_not_taken_for_none(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """It is said to be damaged."""
    file.write_text(line(0))
    assert run(["emit", "--file", str(file)]) == 0
    bookmark(settings).write_text(text, errors="surrogateescape")

    assert run(["emit", "--file", str(file), "--resume"]) == 1

    said = capsys.readouterr().err
    assert f"the bookmark {bookmark(settings)} is damaged" in said
    assert len(said.splitlines()) == 1
    assert published(client, keys) == 1


def plant(how: str, path: Path, elsewhere: Path) -> None:
    """Put something else at `path` than a file of this user."""
    if how == "link":
        path.symlink_to(elsewhere)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("how", ["link", "pipe"])
@pytest.mark.parametrize("suffix", [".place", ".lock", ".new"])
def test_what_is_planted_in_the_place_of_a_bookmark_is_not_used(
    settings: Settings, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, how: str
) -> None:
    """It is neither read nor written nor waited for. What a run writes then takes its place."""
    file.write_text(line(0))
    assert run(["emit", "--file", str(file)]) == 0
    path = bookmark(settings).with_suffix(suffix)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(bookmark(settings).read_bytes())
    if suffix == ".place":
        path.unlink()
    before = elsewhere.read_bytes()
    plant(how, path, elsewhere)
    capsys.readouterr()

    code = run(["emit", "--file", str(file), "--resume"])

    said = capsys.readouterr().err
    if suffix == ".new":
        assert (code, said) == (0, "")
        assert_finished(settings, 1)
    else:
        assert code == {".place": 1, ".lock": 2}[suffix]
        assert str(path) in said
        assert len(said.splitlines()) == 1
    assert elsewhere.read_bytes() == before


def test_the_folder_of_another_user_is_refused(
    client: redis.Redis,
    keys: Keys,
    settings: Settings,
    file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: Any,
) -> None:
    """What is in it may be made up."""
    file.write_text(line(0))
    assert run(["emit", "--file", str(file)]) == 0
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    capsys.readouterr()

    for resume in ([], ["--resume"]):
        assert run(["emit", "--file", str(file), *resume]) == 2

        said = capsys.readouterr().err
        assert "ETLOG_SPOOL_DIR" in said
        assert len(said.splitlines()) == 1
    assert published(client, keys) == 1


def test_bookmarks_do_not_pile_up(settings: Settings, tmp_path: Path) -> None:
    """Those of finished runs go after 60 days with the next run over any file. That of an interrupted one is kept: it
    says why not to begin again."""
    places: list[Path] = []
    for number, text in enumerate((line(0), line(1), line(2) + "{}\n")):
        other = tmp_path / f"{number}.ndjson"
        other.write_text(text)
        before = set(settings.spool_dir.rglob("*.place"))
        run(["emit", "--file", str(other)])
        places += set(settings.spool_dir.rglob("*.place")) - before
    old_finished, finished, old_interrupted = places
    old = time() - SENT_WITHIN - 60
    for path in (old_finished, old_interrupted):
        os.utime(path, (old, old))
    unknown = old_finished.with_name("something.place")
    unknown.write_bytes(old_finished.read_bytes())
    os.utime(unknown, (old, old))

    assert run(["emit", "--file", str(tmp_path / "1.ndjson"), "--resume"]) == 0

    assert set(old_finished.parent.iterdir()) == {finished, old_interrupted, unknown}


def test_a_bookmark_that_is_used_stays(settings: Settings, file: Path) -> None:
    """Its 60 days begin again."""
    file.write_text(line(0))
    assert run(["emit", "--file", str(file)]) == 0
    old = time() - SENT_WITHIN + 60
    os.utime(bookmark(settings), (old, old))

    assert run(["emit", "--file", str(file), "--resume"]) == 0

    assert bookmark(settings).stat().st_mtime > time() - 60


def test_what_is_left_of_killed_runs_goes(settings: Settings, tmp_path: Path, file: Path) -> None:
    """With the next run over any file; what a living one has is left alone."""
    other = tmp_path / "other.ndjson"
    other.write_text(line(0))
    assert run(["emit", "--file", str(other)]) == 0
    place = bookmark(settings)
    dead, living = place.with_name("0123456789abcdef.new"), place.with_suffix(".new")
    for path in (dead, living):
        path.write_text("{")
        path.with_suffix(".lock").touch()
    file.write_text(line(1))
    with living.with_suffix(".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        assert run(["emit", "--file", str(file)]) == 0

        assert not dead.exists()
        assert not dead.with_suffix(".lock").exists()
        assert living.exists()
        assert living.with_suffix(".lock").exists()

    assert run(["emit", "--file", str(file)]) == 0

    assert {path.suffix for path in place.parent.iterdir()} == {".place"}


#: Runs `etlog emit --file` again and again in children that are killed by SIGKILL before their first, second, third …
#: step on the disk, until one comes to its end; after each, the run is resumed. Prints a line of JSON for each: the
#: step, whether it was killed there, the exit code of `--resume`, and that of a run without it where there was nothing
#: to resume. With `appended`, it is the run over what was appended to a finished file, and every third step.
KILLED_AT_EACH_STEP = r"""
import json, os, signal, sys, threading
import etlog_events.validation, redis.connection  # else each child would
from pathlib import Path
from etlog import event_file
from etlog.errors import CommandFailed
from etlog_events.settings import Settings

folder, appended = Path(sys.argv[1]), sys.argv[2] == "appended"
event_file.ROUND, event_file.LAG = 3, 0.0
settings = Settings.from_environment()
STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "fcntl.flock"}
spool = os.environ["ETLOG_SPOOL_DIR"]

def child(resume=False, step=0):
    pid = os.fork()
    if pid == 0:
        left = step
        def look(event, arguments):
            nonlocal left
            if event in STEPS and threading.current_thread() is threading.main_thread():
                if isinstance(arguments[0], int) or os.fspath(arguments[0]).startswith(spool):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(look)
        try:
            event_file.emit_file(str(file), settings, resume=resume)
        except CommandFailed as e:
            os._exit(e.code)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for step in range(1, 200, 4 if appended else 2):
    file = folder / f"{step}.ndjson"
    lines = [f'{{"kind":"AssetSetSaved","metadata":{{"size":{step * 100 + i},"window":{{"start":"2022-06-03T10:00:00Z",'
             f'"end":"2022-06-03T11:00:00Z"}}}},"time":"2022-06-03T17:07:54Z"}}\n' for i in range(5)]
    if appended:
        file.write_text("".join(lines[:1]))
        assert child() == 0
    file.write_text("".join(lines))
    killed = child(resume=appended, step=step) == -signal.SIGKILL
    resumed = child(resume=True)
    print(json.dumps([step, killed, resumed, child() if resumed == 2 else None]), flush=True)
    if not killed:
        break
"""


@pytest.mark.parametrize("which", ["first", "appended"])
def test_a_run_that_is_killed_at_any_step_can_be_resumed(
    client: redis.Redis, keys: Keys, settings: Settings, tmp_path: Path, which: str
) -> None:
    """Each event is there once. Where a killed run has left no bookmark, it has emitted nothing: it is run again."""
    command = [sys.executable, "-c", KILLED_AT_EACH_STEP, str(tmp_path), which]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    runs = [json.loads(text) for text in ended.stdout.splitlines()]

    steps, killed, resumed, again = zip(*runs, strict=True)
    assert len(runs) > 8
    assert killed == (*[True] * (len(runs) - 1), False)
    refused = resumed.count(2)
    assert 0 < refused < 10 if which == "first" else refused == 0
    assert resumed == (*[2] * refused, *[0] * (len(runs) - refused))
    assert again == (*[0] * refused, *[None] * (len(runs) - refused))
    sizes = [json.loads(text)["metadata"]["size"] for text in stored(client, keys)]
    assert sizes == [step * 100 + number for step in steps for number in range(5)]
    assert {path.suffix for path in (settings.spool_dir / settings.name).iterdir()} == {".place"}


@pytest.mark.parametrize("how", ["another", "none"])
def test_a_run_is_not_resumed_in_another_log(
    client: redis.Redis, keys: Keys, file: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    """The store was emptied: what the log had of the file is gone. The message says what to do."""
    interrupt(file)
    client.delete(*client.keys(f"etlog:{{{keys.name}}}:*"))
    if how == "another":
        Publisher(client, keys)(Identity("someone"), 1, [saved(7_000)])
    capsys.readouterr()

    assert run(["emit", "--file", str(file), "--resume"]) == 1

    error = capsys.readouterr().err
    assert "was interrupted while it emitted into another log" in error
    assert "leave out --resume" in error
    assert len(error.splitlines()) == 1
    assert run(["emit", "--file", str(file)]) == 0
    assert list(stored(client, keys))[-6_100:] == list(map(line, range(6_100)))


def test_a_log_that_moved_is_gone_on_with(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At whatever address: the bookmark knows it by its id."""
    port = urlsplit(store_url).port
    assert port is not None
    with closing(Proxy(port)) as proxy:
        monkeypatch.setenv("ETLOG_REDIS_URL", proxy.url)
        interrupt(file)
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)

    assert run(["emit", "--file", str(file), "--resume"]) == 0

    assert list(stored(client, keys)) == list(map(line, range(6_100)))


def test_a_place_that_does_not_know_its_log_goes_by_the_address(
    keys: Keys, settings: Settings, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run was killed before the store had answered."""
    interrupt(file)
    path = bookmark(settings)
    found = json.loads(path.read_bytes()) | {"log_id": "", "store": "redis://elsewhere:6379/0"}
    path.write_text(json.dumps(found))

    assert run(["emit", "--file", str(file), "--resume"]) == 1

    assert "which was at redis://elsewhere:6379/0;" in capsys.readouterr().err


def test_the_bookmark_of_an_earlier_release_is_found(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path
) -> None:
    """Under the name that it had, without a token and the id of the log; it is gone as soon as there is a new one."""
    interrupt(file)
    path = bookmark(settings)
    found = json.loads(path.read_bytes())
    for name in ("token", "log_id", "store"):
        del found[name]
    path.unlink()
    name = sha256(f"{file.resolve()}\n{shown(settings.redis_url)}".encode()).hexdigest()[:16]
    former = path.with_name(f"{name}.place")
    former.write_text(json.dumps(found))

    assert run(["emit", "--file", str(file), "--resume"]) == 0

    assert list(stored(client, keys)) == list(map(line, range(6_100)))
    assert_finished(settings, 6_100)


def test_a_new_run_does_away_with_the_bookmark_of_an_earlier_release(settings: Settings, file: Path) -> None:
    """A later `--resume` must not go back to it."""
    name = sha256(f"{file.resolve()}\n{shown(settings.redis_url)}".encode()).hexdigest()[:16]
    former = settings.spool_dir / settings.name / f"{name}.place"
    former.parent.mkdir(parents=True)
    former.write_text("{}")
    file.write_text("{}\n")

    assert run(["emit", "--file", str(file)]) == 2

    assert bookmark(settings) != former


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_second_run_over_the_same_file_is_refused(
    client: redis.Redis,
    keys: Keys,
    settings: Settings,
    file: Path,
    resume: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While the first is at work, if only stopped; that one goes on, and a later run is free to begin."""
    monkeypatch.setattr("etlog.bookmark.TIDIED_WITHIN", 0.02)
    file.write_text("".join(map(line, range(15_000))))
    with commands.running("emit", "--file", str(file)) as first:
        wait_until(lambda: published(client, keys), what="some events")
        first.process.send_signal(signal.SIGSTOP)

        assert run(["emit", "--file", str(file), *resume]) == 1

        assert capsys.readouterr().err == f"etlog: --file: another run over {file} is at work; wait for its end\n"
        first.process.send_signal(signal.SIGCONT)
        assert first.wait() == 0

    assert list(stored(client, keys)) == list(map(line, range(15_000)))
    assert_finished(settings, 15_000)
    file.write_text(line(1))
    assert run(["emit", "--file", str(file)]) == 0


def test_an_id_that_is_taken_meanwhile_costs_and_doubles_nothing(
    client: redis.Redis, keys: Keys, settings: Settings, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process publishes under it from the second round on; the run goes on under a fresh one, and so does the
    next one, which is given that by the bookmark."""
    lines = [*map(line, range(22_000)), "{}\n", *map(line, range(22_001, 22_100))]
    file.write_text("".join(lines))
    monkeypatch.setattr(delivery, "new_id", iter(["twin-1-abc", "fresh-1-abc"]).__next__)
    Publisher(client, keys)(Identity("twin-1-abc", "01"), 1, [saved(99_999)])

    assert run(["emit", "--file", str(file)]) == 2

    kept = json.loads(bookmark(settings).read_bytes())
    assert (kept["producer"], kept["number"], kept["line"]) == ("fresh-1-abc", 5000, 5000)
    lines[22_000] = line(22_000)
    file.write_text("".join(lines))
    assert run(["emit", "--file", str(file), "--resume"]) == 0
    assert list(stored(client, keys))[1:] == list(map(line, range(22_100)))


class Pipe:
    """Lines that come while something happens, as a file."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines
        self._end, other = os.pipe()
        os.close(other)

    def readline(self, _: int) -> bytes:
        return next(self._lines, b"")

    def fileno(self) -> int:
        return self._end

    def __enter__(self) -> "Pipe":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
