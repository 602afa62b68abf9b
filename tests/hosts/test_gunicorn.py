"""gunicorn forks its workers off a process that has loaded the application."""

import signal
from contextlib import suppress

import pytest
from hosts.trial import Trial, Web

APPLICATION = ("--workers", "2", "hosts.programs.web:application")


#: A worker that was just forked misses SIGTERM, and is killed so many seconds later. Others need half of them to end.
GRACEFUL = ("--graceful-timeout", "10")

#: gevent must patch a process before the producer is made, so it may not wait for the worker where that is forked off.
PATCHED = ("--preload", "--config", "python:hosts.programs.patched")


@pytest.mark.parametrize(
    ("worker", "options"),
    [
        ("sync", ("--preload",)),
        ("sync", ()),
        ("gthread", ("--preload", "--threads", "4")),
        ("gevent", PATCHED),
        ("gevent", ()),
    ],
)
def test_workers(trial: Trial, worker: str, options: tuple[str, ...]) -> None:
    """Those that are recycled, and those that SIGTERM ends."""
    web = Web()
    command = ("gunicorn", *options, "--worker-class", worker, "--max-requests", "4", "--bind", web.address)
    preloaded = {"EMIT_AT_LOAD": "yes"} if "--preload" in options else {}
    with trial.host(*command, *GRACEFUL, *APPLICATION, **preloaded) as host:
        web.wait(host)
        for _ in range(10):
            web.ask(4)

        assert host.end(signal.SIGTERM) == 0

    trial.assert_complete(40 + len(preloaded))


@pytest.mark.parametrize("path", ["/hang", "/deaf"])
def test_a_worker_that_hangs(trial: Trial, path: str) -> None:
    """It gets SIGABRT, on which it exits. One that is deaf gets SIGKILL a second later, so what the store did not take
    until then is lost."""
    web = Web()
    with trial.host("gunicorn", "--preload", "--timeout", "1", "--bind", web.address, *GRACEFUL, *APPLICATION) as host:
        web.wait(host)
        with suppress(OSError):
            web.ask(5, path)
        host.end(signal.SIGTERM)

    if trial.away and path == "/deaf":
        assert len(trial.account().missing) == 5
    else:
        trial.assert_complete(5)
