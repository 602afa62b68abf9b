"""A producer on the test's log, a bad network in front of the store, and stages that run as scripts."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from etlog_events.keys import Keys
from etlog_producer import Producer
from support.proxy import Proxy
from support.servers import PATIENCE


@pytest.fixture(autouse=True)
def spool_dir(plain_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for spool files."""
    folder = tmp_path / "spool"
    monkeypatch.setenv("ETLOG_SPOOL_DIR", str(folder))
    return folder


@pytest.fixture
def producer(store_url: str, keys: Keys) -> Iterator[Producer]:
    """A producer on the test's log."""
    with Producer(store_url, log=keys.name) as producer:
        yield producer


@pytest.fixture
def proxy(store_url: str) -> Iterator[Proxy]:
    """A proxy in front of the shared server."""
    port = urlsplit(store_url).port
    assert port is not None
    with closing(Proxy(port)) as proxy:
        yield proxy


#: Runs the source of a stage as a process of its own; its arguments are the address of the store and the log.
RunStage = Callable[[str], None]


@pytest.fixture
def run_stage(tmp_path: Path, store_url: str, keys: Keys) -> RunStage:
    """Runs a script to its end, which must be a good one, without a word on standard error."""

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
