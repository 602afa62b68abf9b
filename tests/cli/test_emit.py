"""`etlog emit`: one event from its options, or one a line from a file of any length."""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog import emit
from etlog.__main__ import run
from etlog.emit import emit_file
from etlog.errors import CommandFailed
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support import commands
from support.proxy import Proxy
from support.servers import Server

OPTIONS = ("--start", "2022-06-03T10:00:00Z", "--end", "2022-06-03T11:00:00Z")


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch, store_url: str, keys: Keys) -> None:
    """The commands find the test's own log."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)


def line(number: int) -> str:
    """An event as canonical text."""
    return (
        f'{{"kind":"AssetSetSaved","metadata":{{"size":{number},'
        '"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}},"time":"2022-06-03T17:07:54Z"}'
    )


def stored(client: Any, keys: Keys) -> Iterator[str]:
    """The events in the stream, as text."""
    last = b"-"
    while entries := client.xrange(keys.events, min=last, count=10_000):
        for _, fields in entries:
            yield fields[b"event"].decode()
        last = b"(" + entries[-1][0]


def test_one_event_is_made_of_its_options(client: redis.Redis, keys: Keys) -> None:
    """It is in the stream when the command ends."""
    ended = commands.run(
        *("emit", "AssetSetSaved", "--size", "97", *OPTIONS, "--time", "2022-06-03T19:07:54.5+02:00"),
        *("--meta", "region=eu-1", "--meta", "note=a=b"),
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"1 event delivered to log {keys.name}\n"
    assert list(stored(client, keys)) == [
        '{"kind":"AssetSetSaved","metadata":{"size":97,'
        '"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"},"region":"eu-1","note":"a=b"},'
        '"time":"2022-06-03T17:07:54.5Z"}'
    ]


def test_an_error_needs_no_window(client: redis.Redis, keys: Keys) -> None:
    """Its time is now if none is given."""
    assert run(["emit", "AllocationSetComputeError", "--error", "no prices"]) == 0

    [event] = map(json.loads, stored(client, keys))
    assert event["metadata"] == {"error": "no prices"}
    assert event["time"].endswith("Z")


def test_a_file_gives_one_event_a_line(client: redis.Redis, keys: Keys, tmp_path: Path) -> None:
    """Blank lines are no events, a last line need not end, and neither does the way lines end matter."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(f"\n{line(1)}\r\n   \n{line(2)}\n\n{line(3)}".encode())

    ended = commands.run("emit", "--file", str(file))

    assert (ended.returncode, ended.stdout) == (0, f"3 events delivered to log {keys.name}\n")
    assert list(stored(client, keys)) == [line(1), line(2), line(3)]


def test_a_dash_is_standard_input(client: redis.Redis, keys: Keys) -> None:
    """So events can come out of a pipe."""
    ended = commands.run("emit", "--file", "-", input=f"{line(1)}\n{line(2)}\n")

    assert (ended.returncode, ended.stdout) == (0, f"2 events delivered to log {keys.name}\n")
    assert list(stored(client, keys)) == [line(1), line(2)]


def test_a_standard_input_that_is_closed_is_one_sentence() -> None:
    """As a service may have it."""
    shell = ["sh", "-c", '"$0" -m etlog emit --file - <&- >&-', sys.executable]

    ended = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (2, "etlog: --file: standard input is closed\n")


def test_an_empty_file_is_no_fault(keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing happened, and that is said."""
    assert run(["emit", "--file", "/dev/null"]) == 0

    assert capsys.readouterr() == (f"0 events delivered to log {keys.name}\n", "")


def test_a_terminal_shows_progress(tmp_path: Path) -> None:
    """It is gone at the end, and what is left is the result."""
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(map(line, range(10))))

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
        (line(3).replace("AssetSetSaved", "AssetSetShaken"), "AssetSetShaken"),
        (line(3).replace('"size":3', '"size":-3'), "size"),
        (line(3).replace("T10:", "T12:"), "window"),
        ("x" * 3_000_000, "bytes long"),
        ("\x00\x1b[31m", ""),
    ],
)
def test_a_bad_line_is_named_and_what_stands_before_it_is_delivered(
    bad: str, reason: str, client: redis.Redis, keys: Keys, tmp_path: Path
) -> None:
    """The number counts all lines, blank ones too, as an editor does."""
    file = tmp_path / "events.ndjson"
    file.write_text(f"{line(1)}\n\n{line(2)}\n{bad}\n{line(4)}\n")

    with pytest.raises(CommandFailed) as failed:
        emit_file(str(file), Settings.from_environment())

    message = str(failed.value)
    assert message.startswith("line 4: ")
    assert message.endswith("; the 2 events before it are delivered")
    assert reason in message
    assert len(message.splitlines()) == 1
    assert len(message) < 500
    assert failed.value.code == 2
    assert list(stored(client, keys)) == [line(1), line(2)]


def test_a_bad_line_ends_the_process_with_2() -> None:
    """A whole process this time."""
    ended = commands.run("emit", "--file", "-", input=f"{line(1)}\nnonsense\n")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("etlog: line 2: not JSON")
    assert len(ended.stderr.splitlines()) == 1


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
        file.writelines(f"{line(number)}\n" for number in range(count))

    with (
        subprocess.Popen(["gzip", "-dc", str(tmp_path / "events.gz")], stdout=subprocess.PIPE) as lines,
        (tmp_path / "out").open("w+") as out,
    ):
        command = [sys.executable, "-c", MEASURED, str(tmp_path / "peak"), "emit", "--file", "-"]
        ended = subprocess.run(command, stdin=lines.stdout, stdout=out, stderr=out, check=False)
        out.seek(0)

        assert (ended.returncode, out.read()) == (0, f"{count} events delivered to log {keys.name}\n")
    assert all(text == line(number) for number, text in enumerate(stored(client, keys)))
    assert client.xlen(keys.events) == count
    assert int((tmp_path / "peak").read_text()) < 200 * 1024  # KiB


def test_a_slow_store_is_waited_for(
    client: redis.Redis, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """It takes longer than the patience with a store that takes nothing, and nothing is given up."""
    monkeypatch.setattr(emit, "PATIENCE", 1)
    file = tmp_path / "events.ndjson"
    file.write_text("\n".join(map(line, range(5000))))

    with closing(Proxy(server.port)) as proxy:
        monkeypatch.setenv("ETLOG_REDIS_URL", proxy.url)
        proxy.delay_replies(0.1)

        assert emit_file(str(file), Settings.from_environment()).events == 5000

    with redis.Redis.from_url(server.url) as slow:
        assert list(stored(slow, keys)) == [line(number) for number in range(5000)]


def test_a_store_that_goes_away_for_good_is_given_up(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """With exit code 1, and with what is certain to have arrived."""
    monkeypatch.setattr(emit, "PATIENCE", 1)
    monkeypatch.setattr(emit, "ROUND", 10)
    monkeypatch.setenv("ETLOG_REDIS_URL", server.url)

    def lines() -> Iterator[bytes]:
        for number in range(15):
            yield f"{line(number)}\n".encode()
        server.kill()
        for number in range(15, 30):
            yield f"{line(number)}\n".encode()

    monkeypatch.setattr(emit, "_open", lambda _: Pipe(lines()))

    with pytest.raises(CommandFailed, match=r"no longer accepts events: .*; 10 events are delivered") as failed:
        emit_file("-", Settings.from_environment())

    assert failed.value.code == 1


def test_a_store_that_is_restarted_meanwhile_gets_everything(
    keys: Keys, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    """Each event once."""
    monkeypatch.setattr(emit, "ROUND", 10)
    monkeypatch.setenv("ETLOG_REDIS_URL", server.url)

    def lines() -> Iterator[bytes]:
        for number in range(15):
            yield f"{line(number)}\n".encode()
        with redis.Redis.from_url(server.url) as client:
            client.shutdown(nosave=True)
        server.kill()
        server.start()
        for number in range(15, 30):
            yield f"{line(number)}\n".encode()

    monkeypatch.setattr(emit, "_open", lambda _: Pipe(lines()))

    assert emit_file("-", Settings.from_environment()).events == 30
    with redis.Redis.from_url(server.url) as client:
        assert list(stored(client, keys)) == [line(number) for number in range(30)]


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
