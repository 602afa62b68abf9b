"""What in a store's configuration endangers the log is said at the start, and in the status."""

import asyncio
import logging
from typing import Any

import pytest
from etlog.commands import consume
from etlog_api.status import read_status
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect, connect_async
from etlog_events.store.health import store_warnings
from support.servers import Server

SOUND = {"maxmemory_policy": "noeviction", "aof_enabled": 1, "redis_version": "7.2.4"}


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ({}, []),
        ({"maxmemory_policy": "allkeys-lru"}, ["maxmemory-policy allkeys-lru"]),
        ({"aof_enabled": 0}, ["keeps no append-only file"]),
        ({"redis_version": "6.2.14"}, ["version 6.2.14; etlog needs 7.0"]),
        ({"redis_version": "10.0.1"}, []),
    ],
)
def test_a_warning_for_each_danger(info: dict[str, Any], said: list[str]) -> None:
    """And none for a sound store."""
    found = store_warnings(SOUND | info)

    assert len(found) == len(said)
    assert all(part in warning for part, warning in zip(said, found, strict=True))


def test_it_is_said_at_the_start_and_in_the_status(
    server: Server, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """Two dangers, two lines."""
    with connect(server.url, part="test") as client:
        client.config_set("maxmemory-policy", "allkeys-lfu")
        client.config_set("appendonly", "no")
        with caplog.at_level(logging.WARNING, "etlog.consumer"):
            consume.warn(client)

    async def status() -> list[str]:
        async with connect_async(server.url, part="test") as client:
            return (await read_status(client, keys, KUBECOST_KINDS)).warnings

    warnings = asyncio.run(status())
    assert [record.getMessage() for record in caplog.records] == [f"Beware: {warning}" for warning in warnings]
    assert len(warnings) == 2


def test_a_store_that_does_not_tell_is_no_reason_to_stop(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """A managed store may forbid `INFO`."""
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "default", "-info")
        with caplog.at_level(logging.WARNING, "etlog.consumer"):
            consume.warn(client)

    assert caplog.records == []
