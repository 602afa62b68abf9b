"""A primary and its replica."""

from collections.abc import Iterator

import pytest
from etlog_events.store import connect
from support.servers import Server, wait_until


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """A server with an append-only file."""
    server = Server("--appendonly", "yes", "--repl-diskless-sync-delay", "0")
    yield server
    server.close()


@pytest.fixture(scope="module")
def replica(primary: Server) -> Iterator[Server]:
    """A replica of `primary`, in step with it."""
    replica = Server("--replicaof", "127.0.0.1", str(primary.port))
    with connect(replica.url, part="test") as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica to connect")
    yield replica
    replica.close()
