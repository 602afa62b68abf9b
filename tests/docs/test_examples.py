"""The programs in `docs/examples` publish what they are given, and through a bad network each event once.

The one in Go is not run: that would need go-redis, which no registry of the tests has. Its call alone is compared.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from etlog_events import publishing
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from support.proxy import Proxy
from support.samples import saved
from support.servers import Server, free_port, wait_until
from support.stream import entries, numbers, raw_entries, records

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"

#: What runs each, and a command that succeeds where all that it needs is there.
COMMANDS = {
    "publish.sh": (["sh"], ["redis-cli", "--version"]),
    "publish.mjs": (["node"], ["node", "--input-type=module", "--eval", "import 'redis'"]),
    "publish.rb": (["ruby"], ["ruby", "-rredis", "-e", "1"]),
    "publish.pl": (["perl"], ["perl", "-MRedis", "-e", "1"]),
}

#: What each prints before its first error, once, when it goes on trying.
TRYING = "publish: will keep trying: "

#: More than two calls of a program.
EVENTS = [saved(size) for size in range(250)]


class Program:
    """One of the examples."""

    def __init__(self, name: str, folder: Path) -> None:
        self._command = [*COMMANDS[name][0], str(EXAMPLES / name)]
        self._file = folder / "events.ndjson"
        self._file.write_bytes(b"\n \t\n" + b"\n\n".join(EVENTS) + b"\n\r\n")  # blank lines are no events

    def run_with(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Its end with these arguments alone."""
        command = [*self._command, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def start(self, url: str, log: str, *options: str) -> subprocess.Popen[str]:
        """Start it on the file of events."""
        environment = {**os.environ, "ETLOG_REDIS_URL": url, "ETLOG_NAME": log}
        command = [*self._command, *options, str(self._file)]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, url: str, log: str, *options: str) -> tuple[int, str]:
        """Its exit code and what it printed."""
        return ended(self.start(url, log, *options))


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and output of a program that comes to its end."""
    try:
        told = "".join(process.communicate(timeout=60))
    finally:
        process.kill()
    return process.returncode, told


@pytest.fixture(params=COMMANDS)
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Program:
    """The example. Skips the test where its language or its library is missing, fails in CI."""
    needed = COMMANDS[request.param][1]
    if (
        shutil.which(needed[0]) is None
        or subprocess.run(needed, cwd=EXAMPLES, capture_output=True, check=False).returncode
    ):
        if os.environ.get("CI"):
            pytest.fail(f"what {request.param} needs is missing; in CI it must not be")
        pytest.skip(f"what {request.param} needs is missing")
    return Program(request.param, tmp_path)


@pytest.fixture
def proxy(store_url: str, client: redis.Redis) -> Iterator[Proxy]:
    """The way to the shared server."""
    proxy = Proxy(client.get_connection_kwargs()["port"])
    yield proxy
    proxy.close()


def load_function(client: redis.Redis) -> None:
    """As a consumer does at its start."""
    Publisher(client, Keys("another"))(Identity("p"), 1, [])


def calls(client: redis.Redis) -> int:
    """How often the function was called, or asked for where it is not there."""
    told = client.info("commandstats").get("cmdstat_fcall", {})
    return int(told.get("calls", 0))


def test_every_event_arrives_once_and_the_producer_ends(
    program: Program, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """In their order, under the numbers of their lines, a hundred in an entry."""
    load_function(client)

    assert program.run(store_url, keys.name) == (0, "")

    assert [entry.event for entry in entries(client, keys)] == EVENTS
    assert numbers(client, keys) == [*range(1, 251)]
    assert len(raw_entries(client, keys)) == 3
    [record] = records(client, keys).values()
    assert (record.published, record.closed) == (250, True)
    assert len(record.token) == 16


def test_what_is_sent_again_is_not_there_twice(
    program: Program, proxy: Proxy, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """The store has done what was asked, and its answer is lost. The producer is not closed then."""
    load_function(client)
    before = calls(client)
    proxy.delay_replies(0.5)
    process = program.start(proxy.url, keys.name)
    wait_until(lambda: client.exists(keys.events), what="the first call")
    proxy.delay_replies(0)
    proxy.cut()

    code, told = ended(process)
    assert code == 0
    assert told.startswith(TRYING)
    assert len(told.splitlines()) == 1

    assert numbers(client, keys) == [*range(1, 251)]
    assert calls(client) - before == 4  # three batches, one of them twice
    assert [record.closed for record in records(client, keys).values()] == [False]


def test_it_waits_for_the_function(program: Program) -> None:
    """Which a consumer loads."""
    keys = Keys("default")
    server = Server()
    try:
        with connect(server.url, part="test") as client:
            process = program.start(server.url, keys.name)
            wait_until(lambda: calls(client) >= 2, what="more attempts")
            assert process.poll() is None
            load_function(client)

            code, told = ended(process)
            assert code == 0
            assert re.fullmatch(rf"{TRYING}.*Function not found.*\n", told)
            assert numbers(client, keys) == [*range(1, 251)]
    finally:
        server.close()


@pytest.mark.parametrize("options", [(), ("--plain",)], ids=["function", "plain"])
def test_it_says_that_no_store_is_there(program: Program, options: tuple[str, ...]) -> None:
    """And either keeps trying or ends as failed."""
    process = program.start(f"redis://127.0.0.1:{free_port()}/0", "default", *options)
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert re.search("refused|ECONNREFUSED", told)
        if told.startswith(TRYING):
            assert process.poll() is None
        else:
            assert process.wait(10) not in {0, None}
        assert options or told.startswith(TRYING)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("arguments", [(), ("--plain",), ("one", "another")])
def test_it_says_how_it_is_called(program: Program, arguments: tuple[str, ...]) -> None:
    """Where it is not given one file."""
    ended = program.run_with(*arguments)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(r"usage: publish\.\w+ \[--plain] FILE\n", ended.stderr)


def test_a_file_that_is_not_there_is_an_error(program: Program, tmp_path: Path) -> None:
    """Not one without events."""
    ended = program.run_with(str(tmp_path / "none"))

    assert ended.returncode != 0
    assert f"{tmp_path}/none" in ended.stderr


@pytest.mark.parametrize("source", sorted(EXAMPLES.glob("publish.*")), ids=lambda source: source.name)
def test_each_gives_up_at_what_no_repetition_changes(source: Path) -> None:
    """At the errors of the function, and at those of access."""
    text = source.read_text().replace("\\ *", "")
    for error in ("ARGUMENT", "CONTRACT", "LOG", "TAKEN", "NOPERM", "NOAUTH", "WRONGPASS"):
        assert re.search(rf"[(*|]{error}[|)\\]", text), error


def test_it_leaves_a_log_of_another_contract_alone(
    program: Program, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """And says why it ends."""
    load_function(client)
    client.set(keys.contract, 9)

    code, told = program.run(store_url, keys.name)

    assert code != 0
    assert "CONTRACT 9 is not 2" in told
    assert not client.exists(keys.events)


def test_a_plain_xadd_adds_entries_of_many_events(
    program: Program, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """In their order, without a number."""
    assert program.run(store_url, keys.name, "--plain") == (0, "")

    assert [entry.event for entry in entries(client, keys)] == EVENTS
    assert {entry.seq for entry in entries(client, keys)} == {0}
    assert len(raw_entries(client, keys)) == 3
    assert not client.exists(keys.producers, keys.stats, keys.id)


def test_the_program_in_go_makes_the_same_call(keys: Keys) -> None:
    """Function, keys and arguments in their order."""
    source = (EXAMPLES / "publish.go").read_text()
    names = ", ".join(f'"{key.rpartition("}:")[2]}"' for key in keys.publishing)

    assert f"range []string{{{names}}}" in source
    assert f'FCall(ctx, "{publishing.FUNCTION.name}", keys, args...)' in source
    assert "[]any{producer, token, logID, held + 1, mode}" in source


def test_the_excerpts_on_the_page_are_in_the_programs() -> None:
    """Line by line, whatever their indentation."""
    page = (ROOT / "docs" / "publishing.md").read_text()
    for language, suffix in {"js": "mjs", "ruby": "rb", "perl": "pl", "go": "go"}.items():
        excerpts = re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
        lines = [line.strip() for line in (EXAMPLES / f"publish.{suffix}").read_text().splitlines()]
        assert excerpts, language
        for line in "".join(excerpts).splitlines():
            assert line.strip() in lines, line
