"""A primary and its replica."""

from collections.abc import Iterator

import pytest
from support.servers import Server, replica_of


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """A server with an append-only file."""
    server = Server("--appendonly", "yes")
    yield server
    server.close()


@pytest.fixture(scope="module")
def replica(primary: Server) -> Iterator[Server]:
    """A replica of `primary`, in step with it."""
    with replica_of(primary) as replica:
        yield replica
