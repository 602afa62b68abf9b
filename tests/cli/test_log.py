"""`etlog log`: the API's answer as a table that fits, or as it is."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from etlog.__main__ import run
from etlog.client import Client
from etlog.commands.log import WIDE, table
from etlog.terminal import ENDLESS
from etlog_events.event import Event
from etlog_events.keys import Keys
from support import commands
from support.apis import add_entry, api_process
from support.commands import Command
from support.consumers import CaughtUp, Consuming
from support.samples import DOCUMENTED, saved
from support.servers import wait_until

ANSWER = (
    b'{"code":200,"data":{"allocation":['
    + b",".join(DOCUMENTED["allocation"])
    + b'],"asset":['
    + b",".join(DOCUMENTED["asset"])
    + b'],"counters":{"AssetSetSaved":1}}}'
)

EMPTY = b'{"code":200,"data":{"allocation":[],"asset":[],"counters":{}}}'


class FakeApi:
    """Something that answers by HTTP whatever it is told, and keeps what it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.status, self.body = 200, EMPTY
        self.asked: list[tuple[str, dict[str, list[str]], str | None]] = []


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tests stay as they are when a command runs in their process."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    """An API of the test's own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            answering.asked.append((parts.path, parse_qs(parts.query), self.headers["Authorization"]))
            self.send_response(answering.status)
            self.send_header("Content-Length", str(len(answering.body)))
            self.end_headers()
            self.wfile.write(answering.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        answering = FakeApi(server.server_port)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield answering
        server.shutdown()
        thread.join()


def answer(*events: dict[str, Any], **envelope: Any) -> bytes:
    """An answer with these events of allocations."""
    data = {"allocation": events, "asset": [], "counters": {}}
    return json.dumps({"code": 200, "data": data, **envelope}).encode()


def event(**metadata: Any) -> dict[str, Any]:
    """An event with this metadata."""
    return {"kind": "AllocationSetReconcileError", "metadata": metadata, "time": "2022-06-03T17:07:54.092619416Z"}


def shown(body: bytes, width: int) -> list[str]:
    return [line.plain for line in table(body, width)]


def test_the_table_fits_a_usual_terminal() -> None:
    """An event in a line of 80 columns, the oldest first, times to the second, windows by start and length."""
    assert shown(ANSWER, 80) == [
        "time (UTC)           kind                     size  window",
        "2022-06-03 16:58:18  AssetSetTotaled                2022-06-03 00:00:00 +1d",
        "2022-06-03 16:58:18  AssetSetAggregated          4  2022-06-03 00:00:00 +1d",
        "2022-06-03 16:58:41  AllocationSetTotaled           2022-06-03 00:00:00 +1d",
        "2022-06-03 16:58:41  AllocationSetAggregated    35  2022-06-03 00:00:00 +1d",
        "2022-06-03 17:07:54  AllocationSetSaved         97  2022-06-03 10:00:00 +1h",
        "2022-06-03 17:07:54  AssetSetSaved              29  2022-06-03 10:00:00 +1h",
    ]


def test_a_wide_terminal_gets_every_digit() -> None:
    """Times and windows as they are stored."""
    assert shown(ANSWER, 200)[4:6] == [
        "2022-06-03T16:58:41.289194368Z  AllocationSetAggregated    35  2022-06-03T00:00:00Z to 2022-06-04T00:00:00Z",
        "2022-06-03T17:07:54.092619416Z  AllocationSetSaved         97  2022-06-03T10:00:00Z to 2022-06-03T11:00:00Z",
    ]


@pytest.mark.parametrize(
    ("end", "length"),
    [
        ("2022-06-03T10:00:10Z", "+10s"),
        ("2022-06-03T11:30:00Z", "+1h30m"),
        ("2022-06-10T10:00:00Z", "+7d"),
        ("2022-06-03T10:00:00.000000001Z", "+<1s"),
    ],
)
def test_the_length_of_a_window_is_short(end: str, length: str) -> None:
    """In the units that it has."""
    body = answer(event(window={"start": "2022-06-03T10:00:00Z", "end": end}))

    assert shown(body, 80)[1].endswith(f"2022-06-03 10:00:00 {length}")


def test_what_was_added_ends_the_line_or_follows_it() -> None:
    """Depending on the room that there is."""
    body = answer(event(error="no prices for this node", region="eu-1", parts=[1, 2]))

    assert shown(body, WIDE)[1].endswith('  no prices for this node  region="eu-1"  parts=[1,2]')
    assert shown(body, 60) == [
        "time (UTC)           kind                         size  window",
        "2022-06-03 17:07:54  AllocationSetReconcileError",
        '    no prices for this node  region="eu-1"  parts=[1,2]',
    ]


def test_a_long_error_is_wrapped() -> None:
    """No line is wider than the terminal, unless it is no terminal: then an event is one line."""
    body = answer(event(error="no prices " * 40))

    assert len(shown(body, 80)) == 8
    assert max(map(len, shown(body, 80))) <= 80
    assert len(shown(body, ENDLESS)) == 2
    assert shown(body, 1)


def test_what_an_event_holds_cannot_touch_the_screen() -> None:
    """Markup is text; control characters and those that reorder letters are shown by their names."""
    error = "[red]alarm[/red] [link=http://x]y[/] \x1b[31mred\x1b]0;title\x07 \x9b2J \r\n\b \u202edenrut"

    [_, line] = shown(answer(event(error=error, note="\x7f\x85")), ENDLESS)

    assert line.isprintable()
    assert r"[red]alarm[/red] [link=http://x]y[/] \x1b[31mred\x1b]0;title\x07 \x9b2J \r\n\x08 \u202edenrut" in line
    assert r'note="\x7f\x85"' in line


def test_a_warning_ends_the_table(fake: FakeApi) -> None:
    """It tells how the table may mislead, and cannot touch the screen either."""
    body = answer(event(error="e"), warning="the store is away \x1b[2J")

    assert shown(body, 80)[-1] == r"Warning: the store is away \x1b[2J"


def test_an_empty_log_is_said_to_be_empty() -> None:
    """Instead of a table without lines."""
    assert shown(EMPTY, 80) == ["No events."]


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_is_filled_to_its_width_at_the_most(columns: int, fake: FakeApi) -> None:
    """On a terminal the kinds are coloured."""
    fake.body = ANSWER

    with commands.running("log", "--url", fake.url, columns=columns) as command:
        assert command.wait() == 0

    lines = command.shown.splitlines()
    assert lines == shown(ANSWER, columns)
    assert max(map(len, lines)) <= columns
    assert "\x1b[32m" in command.printed


def test_out_of_a_terminal_an_event_is_one_plain_line(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """For `grep` and its like."""
    fake.body = answer(event(error="no prices " * 40), event(error="[red]alarm"))

    assert run(["log", "--url", fake.url]) == 0

    printed = capsys.readouterr()
    assert printed.out.splitlines() == shown(fake.body, ENDLESS)
    assert len(printed.out.splitlines()) == 3
    assert printed.err == ""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN  # a connection that breaks later ends no one


def test_json_is_the_answer_to_the_byte(fake: FakeApi) -> None:
    """And a new line, for the terminal's sake."""
    fake.body = b' {"data" : {"allocation":[],"counters":{}, "caf\xc3\xa9":[1.50]}} '

    ended = commands.run("log", "--json", "--url", fake.url)

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.encode() == fake.body + b"\n"


def test_the_filters_are_passed_on(fake: FakeApi) -> None:
    """As the API knows them; those that are not given are left out."""
    run(["log", "--url", fake.url, "--kind", "Saved,a&b", "--window", "2022-06-03T10:00:00Z,today", "--limit", "5"])
    Client(fake.url + "/").get("/model/etl/log", {})

    assert fake.asked == [
        ("/model/etl/log", {"kind": ["Saved,a&b"], "window": ["2022-06-03T10:00:00Z,today"], "limit": ["5"]}, None),
        ("/model/etl/log", {}, None),
    ]


def test_the_token_of_the_environment_is_sent(fake: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first, if there are several."""
    monkeypatch.setenv("ETLOG_API_TOKEN", "sesame-open-sesame,another-sesame-open")
    monkeypatch.setenv("ETLOG_URL", fake.url)

    assert run(["log"]) == 0
    assert fake.asked[0][2] == "Bearer sesame-open-sesame"


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (400, b'{"code":400,"message":"illegal window: 7y"}', 2, "the API answered 400: illegal window: 7y"),
        (401, b'{"code":401,"message":"a token is needed"}', 2, "the API answered 401: a token is needed"),
        (503, b'{"code":503,"message":"the store is away"}', 3, "the API answered 503: the store is away"),
        (400, b'{"code":400,"message":"\\u001b[2J"}', 2, r"the API answered 400: \x1b[2J"),
        (200, b"<html>It works!</html>", 2, "is not etlog (200 OK)"),
        (200, b'{"data":[]}', 2, "is not etlog (200 OK)"),
        (200, b"[]", 2, "is not etlog (200 OK)"),
        (404, b'{"detail":"Not Found"}', 2, "is not etlog (404 Not Found)"),
        (502, b"", 3, "cannot be reached (502 Bad Gateway)"),
    ],
)
def test_an_answer_that_is_none_is_one_sentence(
    status: int, body: bytes, code: int, message: str, fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the API says of a question, or that another server is at this address."""
    fake.status, fake.body = status, body

    assert run(["log", "--url", fake.url]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
def test_a_reader_that_has_seen_enough_sees_no_error(options: list[str], fake: FakeApi) -> None:
    """`etlog log | head -1` ends silently."""
    fake.body = answer(*[event(error=f"no prices {number}") for number in range(5000)])

    with subprocess.Popen(["head", "-c", "10"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as head:
        ended = commands.run("log", "--url", fake.url, *options, stdout=head.stdin)

    assert ended.stderr == ""


@pytest.mark.parametrize("command", ["log", "status"])
def test_a_closed_standard_output_is_no_error(command: str, fake: FakeApi) -> None:
    """The answer goes nowhere."""
    fake.body = answer(event())
    shell = f'"$0" -m etlog {command} --json --url "$1" >&-'

    ended = subprocess.run(
        ["sh", "-c", shell, sys.executable, fake.url], capture_output=True, text=True, timeout=30, check=False
    )

    assert (ended.returncode, ended.stderr) == (0, "")


def followed(command: Command) -> list[dict[str, Any]]:
    """The metadata of the events that `--follow --json` has printed, if it has printed nothing else."""
    return [json.loads(line)["metadata"] for line in command.printed.splitlines(keepends=True) if line.endswith("\n")]


def test_the_log_is_followed_from_its_newest_events_on(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """What was applied before is shown first, what comes is shown once, and Ctrl-C ends it without a traceback."""
    with consuming():
        for size in range(15):
            client.xadd(keys.events, {"event": saved(size)})
        caught_up()
        with commands.running("log", "--follow", "--json", "--url", api) as following:
            wait_until(lambda: len(followed(following)) == 10, what="the newest events")

            add_entry(client, keys, [saved(size) for size in range(15, 19)])
            client.xadd(keys.events, {"event": saved(19)})
            wait_until(lambda: len(followed(following)) == 15, what="the events that came")

            following.stop(signal.SIGINT)

    assert [metadata["size"] for metadata in followed(following)] == list(range(5, 20))


def test_what_comes_while_the_api_is_away_is_shown_after_it(
    store_url: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Also when nothing that passes the filter had come before: where it stood is known from the connection alone."""

    def emit(*errors: str) -> None:
        failed = [Event.new("AssetSetComputeError", error=error).encode() for error in errors]
        add_entry(client, keys, [saved(), *failed, saved()])
        caught_up()

    def errors(following: Command) -> list[str]:
        return [metadata["error"] for metadata in followed(following)]

    with consuming(), ExitStack() as stack:
        emit("before")
        api = stack.enter_context(api_process(store_url, name=keys.name))
        following = stack.enter_context(
            commands.running("log", "--follow", "--kind", "Error", "--json", "--url", api.url)
        )
        wait_until(lambda: errors(following) == ["before"], what="what was there")
        api.stop()
        emit("meanwhile", "and then")
        api.start()
        wait_until(lambda: len(errors(following)) == 3, what="what came while the API was away")
        emit("after")
        wait_until(lambda: len(errors(following)) == 4, what="what came after it")

    assert errors(following) == ["before", "meanwhile", "and then", "after"]


def test_one_of_several_logs_is_followed_by_its_name(second_of_two: tuple[str, ...]) -> None:
    """Its newest events come first; `--log` names it."""
    with commands.running("log", "--follow", "--json", *second_of_two) as following:
        wait_until(lambda: len(followed(following)) == 2, what="its events")

    assert [metadata["size"] for metadata in followed(following)] == [2, 3]


def test_a_log_that_the_api_does_not_serve_is_one_sentence(second_of_two: tuple[str, ...]) -> None:
    """In the words of the API."""
    ended = commands.run("log", *second_of_two, "--log", "no-such-log")

    assert (ended.returncode, ended.stderr) == (2, "etlog: the API answered 404: unknown log 'no-such-log'\n")
