"""TLS to a cluster: to the nodes that are asked, and to the one that has the log."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from etlog_events.errors import StoreUnavailable
from etlog_events.store import connect, connect_async, discovery, translated
from support.certificates import Authority
from support.guarded import TlsServer
from support.servers import PATIENCE, free_port, wait_until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority that both sides trust."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def node(authority: Authority) -> Iterator[TlsServer]:
    """A cluster of one node, by TLS alone."""
    options = ("--tls-cluster", "yes", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with closing(TlsServer(authority, *options)) as node, connect(node.url, part="test") as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"), what="the cluster")
        yield node


def test_a_cluster_is_reached_by_tls(node: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one's own authority; without it, the server is not trusted."""
    monkeypatch.setattr(discovery, "ASK_TIMEOUT", PATIENCE)

    def cluster(url: str) -> str:
        return url.replace("rediss://", "rediss+cluster://")

    async def ask() -> object:
        async with connect_async(cluster(node.url), part="test", log="l") as client:
            return await client.ping()

    with connect(cluster(node.url), part="test", log="l") as client:
        assert client.ping()
    assert asyncio.run(ask())
    url = f"rediss+cluster://127.0.0.1:{node.port}"
    with (
        connect(url, part="test", log="l") as client,
        pytest.raises(StoreUnavailable, match="verify failed"),
        translated(url),
    ):
        client.ping()
