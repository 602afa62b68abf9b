"""TLS to a cluster: to the nodes that are asked, and to the one that has the log."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from etlog_events.errors import StoreUnavailable
from etlog_events.store import connect, connect_async, translated
from support.servers import free_port, wait_until


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate that vouches for itself, of a server on loopback."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-days", "2", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=etlog"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    return tmp_path / "cert.pem"


@pytest.fixture
def port(authority: Path) -> Iterator[int]:
    """The port of a cluster of one node, by TLS alone."""
    port, folder = free_port(), authority.parent
    process = subprocess.Popen(
        [
            *("redis-server", "--bind", "127.0.0.1", "--port", "0", "--tls-port", str(port), "--save", ""),
            *("--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"),
            *("--tls-auth-clients", "no", "--tls-cluster", "yes", "--cluster-enabled", "yes"),
            *("--cluster-port", str(free_port())),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    )
    try:
        with connect(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority}", part="test") as client:

            def serves() -> bool:
                assert process.poll() is None, "the server has ended"
                try:
                    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
                except redis.ConnectionError:
                    return False
                return True

            wait_until(serves, what="the server to start")
            wait_until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"), what="the cluster")
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(not (shutil.which("redis-server") and shutil.which("openssl")), reason="no server with TLS here")
def test_a_cluster_is_reached_by_tls(authority: Path, port: int) -> None:
    """With an authority of one's own; without it, the server is not trusted."""
    url = f"rediss+cluster://127.0.0.1:{port}"

    async def ask() -> object:
        async with connect_async(f"{url}?ssl_ca_certs={authority}", part="test", log="l") as client:
            return await client.ping()

    with connect(f"{url}?ssl_ca_certs={authority}", part="test", log="l") as client:
        assert client.ping()
    assert asyncio.run(ask())
    with connect(url, part="test", log="l") as client, pytest.raises(StoreUnavailable), translated(url):
        client.ping()
