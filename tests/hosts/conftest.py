"""Each host is run with its store there, and with its store away until the host has ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts.trial import PROGRAMS, Trial
from support.servers import Server


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    """The hosts are not installed with the tools of the other tests."""
    assert (PROGRAMS / "python").exists(), "the hosts are missing: run make hosts"


@pytest.fixture(params=["there", "away"])
def trial(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trial]:
    """A host and its store, there and away."""
    server = Server()
    yield Trial(tmp_path, server, away=request.param == "away")
    server.close()


@pytest.fixture
def broker() -> Iterator[str]:
    """The address of the server that brings tasks to a host: it is there when the store is away."""
    server = Server()
    yield server.url
    server.close()
