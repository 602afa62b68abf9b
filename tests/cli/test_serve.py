"""`etlog serve`: one or more processes that answer on a port, and stop when they are told."""

import json
import logging
import re
import socket
from collections.abc import Iterator

import httpx
import psutil
import pytest
import uvicorn
from etlog.__main__ import run
from etlog.listening import is_loopback
from support import commands
from support.servers import free_port, wait_until

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.fixture
def port() -> int:
    return free_port()


def ready(workers: int) -> str:
    """What is printed when all worker processes answer."""
    return rf"(?s)(Application startup complete.*){{{workers}}}"


def conversations(process: psutil.Process, port: int) -> int:
    """Connections that a process has with clients of `port`."""
    return sum(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
        for each in process.net_connections(kind="tcp")
    )


@pytest.fixture
def clients() -> Iterator[list[httpx.Client]]:
    clients: list[httpx.Client] = []
    yield clients
    for client in clients:
        client.close()


@pytest.mark.timed
def test_one_process_answers_until_it_is_told_to_stop(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The end is a success, and is not held up by a client of the live log."""
    monkeypatch.setenv("ETLOG_LOG_FORMAT", "json")

    with commands.running("serve", "--port", str(port)) as command:
        command.wait_for(ready(1))
        with httpx.stream("GET", f"http://127.0.0.1:{port}/model/etl/log/stream") as live:
            assert live.status_code == 200

            assert command.stop() < 3
        assert command.wait() == 0
    assert_json_lines(command, workers=1)


@pytest.mark.timed
def test_two_processes_share_the_port(port: int, clients: list[httpx.Client], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both answer, and both are gone in the end."""
    monkeypatch.setenv("ETLOG_LOG_FORMAT", "json")

    with commands.running("serve", "--port", str(port), "--workers", "2") as command:
        command.wait_for(ready(2))
        workers = [each for each in command.family() if "spawn_main" in " ".join(each.cmdline())]
        assert len(workers) == 2

        def both_are_asked() -> bool:
            client = httpx.Client()
            clients.append(client)
            assert client.get(f"http://127.0.0.1:{port}/model/etl/log").status_code == 200
            return all(conversations(worker, port) for worker in workers)

        wait_until(both_are_asked, what="both workers to be asked")
        family = command.family()

        assert command.stop() < 3
        assert command.wait() == 0
    commands.wait_for_end(family)
    assert_json_lines(command, workers=2)


def assert_json_lines(command: commands.Command, *, workers: int) -> None:
    """Every line that any of the processes printed is a JSON object."""
    lines = [json.loads(line) for line in command.shown.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*map(set, lines))
    assert sum("Started server process" in line["message"] for line in lines) == workers


def test_ctrl_c_stops_it(port: int) -> None:
    """In a terminal it reaches all of its processes at once."""
    with commands.running("serve", "--port", str(port), "--workers", "2", columns=80) as command:
        command.wait_for(ready(2))
        family = command.family()
        command.type("\x03")

        assert command.wait() == 0
    assert "Traceback" not in command.shown
    commands.wait_for_end(family)


def test_a_port_that_is_taken_is_one_sentence() -> None:
    """It names the port, why it cannot be had, and how to name another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        ended = commands.run("serve", "--port", str(port))

    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(
        rf"etlog: cannot listen on 127\.0\.0\.1:{port}: .* in use; choose another .*--port.*\n", ended.stderr
    )


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [
        ("0.0.0.0", "", True),
        ("::", "", True),
        ("0.0.0.0", "sesame-open-sesame", False),
        ("127.0.0.1", "", False),
        ("localhost", "", False),
    ],
)
def test_a_log_that_is_open_to_all_is_said_to_be(
    host: str, token: str, warned: bool, port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """When other machines can reach it and no token is required."""
    started = []
    monkeypatch.setattr(uvicorn, "run", lambda *_, **options: started.append(options["host"]))
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("etlog.logging_setup.configure", lambda *_: None)
    monkeypatch.setattr("etlog.commands.serve.why_taken", lambda *_: None)
    monkeypatch.setenv("ETLOG_API_TOKEN", token)

    with caplog.at_level(logging.WARNING, "etlog.api"):
        assert run(["serve", "--host", host, "--port", str(port)]) == 0

    assert started == [host]
    sentence = (
        f"Anyone who can reach port {port} of {host} can read the log: set ETLOG_API_TOKEN, or listen on 127.0.0.1"
    )
    assert caplog.messages == ([sentence] if warned else [])


def test_loopback_is_what_only_this_machine_reaches() -> None:
    """Whatever its spelling."""
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1"))


def test_a_store_that_is_away_does_not_keep_it_from_starting(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so in its answers; the store may come up after it."""
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    with commands.running("serve", "--port", str(port)) as command:
        command.wait_for("Uvicorn running")

        answer = httpx.get(f"http://127.0.0.1:{port}/model/etl/log")
        assert answer.status_code == 503
        ended = commands.run("log", "--url", f"http://127.0.0.1:{port}")

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr.startswith("etlog: the API answered 503: ")
