"""What every test may use: a real server, an empty log on it, and settings free of the machine's environment."""

import logging
import os
import signal
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import redis
from etlog_consumer import consumer
from etlog_events.keys import Keys
from etlog_events.store import connect, liveness
from support.consumers import CaughtUp, Consuming, catch_up, consumer_thread
from support.fakes import Clock, fake_store
from support.logged import Logged
from support.servers import Server
from support.stream import Client


def pytest_configure() -> None:
    """A job in the background of a shell ignores Ctrl-C, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test marked `timed` also says how long something may take: a busy machine holds it up once, but not thrice."""
    for item in items:
        if item.get_closest_marker("timed"):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test, and no test its spool."""
    for name in os.environ:
        if name.startswith("ETLOG_") and not name.startswith("ETLOG_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ETLOG_SPOOL_DIR", str(tmp_path / "spool"))


@pytest.fixture(autouse=True)
def plain_logging() -> Iterator[None]:
    """A command that runs in this process sets up its logging, which is that of all tests."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Logged:
    """`logged("store_away")` gives the log lines of an action."""
    caplog.set_level(logging.INFO, "etlog")
    return lambda action: [r.getMessage() for r in caplog.records if getattr(r, "action", None) == action]


@pytest.fixture(scope="session")
def store_url() -> Iterator[str]:
    """The address of a real server: the one named by `ETLOG_TEST_REDIS_URL`, else one that is started here."""
    named = os.environ.get("ETLOG_TEST_REDIS_URL")
    if named:
        yield named
        return
    server = Server()
    yield server.url
    server.close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server for one test, to be killed and restarted. With `everysec` a busy disk could lose acknowledged events."""
    server = Server("--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.close()


@pytest.fixture
def client(store_url: str) -> Iterator[redis.Redis]:
    """A client of the shared server."""
    with connect(store_url, part="test") as client:
        yield client


@pytest.fixture
def fake_client() -> Iterator[Client]:
    """A client of an empty store in memory, for tests that need no server."""
    with fake_store() as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def keys(client: redis.Redis) -> Iterator[Keys]:
    """The keys of a log that is this test's own, and is gone after it."""
    keys = Keys(f"test-{uuid.uuid4().hex[:12]}")
    yield keys
    for key in client.scan_iter(match=keys.events.replace("events", "*"), count=1000):
        client.delete(key)


@pytest.fixture
def rested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection to a store has rested whenever it is used."""
    monkeypatch.setattr(liveness, "TRUSTED", 0.0)


@pytest.fixture(autouse=True)
def stop_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer in a thread sees a stop within milliseconds, even when its log is idle."""
    monkeypatch.setattr(consumer, "BLOCK_MS", 20)


@pytest.fixture
def consuming(store_url: str, keys: Keys) -> Consuming:
    """`with consuming(cap=…):` runs a consumer on the test's log in a thread."""
    return partial(consumer_thread, store_url, keys)


@pytest.fixture
def caught_up(client: redis.Redis, keys: Keys) -> CaughtUp:
    """Waits until everything in the stream is applied."""
    return partial(catch_up, client, keys)
