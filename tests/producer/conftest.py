"""A producer on the test's log, a bad network in front of the store, and stages that run as scripts."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from etlog_events.keys import Keys
from etlog_producer import Producer
from etlog_producer.publish import Publisher
from etlog_producer.spool import recovery
from support.producers import RunStage
from support.proxy import Proxy
from support.servers import PATIENCE, Server, free_port, replica_of


@pytest.fixture
def spool_dir(tmp_path: Path) -> Path:
    """The folder for spool files of this test alone."""
    return tmp_path / "spool"


@pytest.fixture
def producer(store_url: str, keys: Keys) -> Iterator[Producer]:
    """A producer on the test's log."""
    with Producer(store_url, log=keys.name) as producer:
        yield producer


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> Publisher:
    """Publishes batches to the test's log."""
    return Publisher(client, keys)


@pytest.fixture
def proxy(store_url: str) -> Iterator[Proxy]:
    """A proxy in front of the shared server."""
    port = urlsplit(store_url).port
    assert port is not None
    with closing(Proxy(port)) as proxy:
        yield proxy


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    """A replica of `server`, in step with it."""
    with replica_of(server, "--appendonly", "yes") as replica:
        yield replica


@pytest.fixture
def dead_url() -> str:
    """An address at which no one listens."""
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spool files are deleted soon after their delivery: the shared server does not forget."""
    monkeypatch.setattr(recovery, "SETTLE", 0.05)


@pytest.fixture
def run_stage(tmp_path: Path, store_url: str, keys: Keys) -> RunStage:
    """Runs a script, which must succeed and print nothing to standard error."""

    def run(source: str) -> None:
        script = tmp_path / "stage.py"
        script.write_text(source)
        ended = subprocess.run(
            # Newer Pythons warn of any fork in a process with threads: here it is what is tested.
            [sys.executable, "-W", "ignore:.*fork:DeprecationWarning", str(script), store_url, keys.name],
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ended.stderr == ""
        assert ended.returncode == 0

    return run
