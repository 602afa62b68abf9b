"""Sentinels that are slow, wrong or locked, and stores without a replica."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
import redis
from etlog_api.app import create_app
from etlog_events.errors import StoreRefused
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_events.store import connect, connect_async, translated
from support.apis import serve
from support.fakes import Mistaken, Silent
from support.replicated import NAME, Sentinel
from support.servers import Server


def by(*sentinels: Silent) -> str:
    """The address by these sentinels."""
    return f"redis+sentinel://{','.join(f'127.0.0.1:{sentinel.port}' for sentinel in sentinels)}/{NAME}/0"


@pytest.mark.timed
def test_an_answer_is_in_time_when_all_sentinels_are_silent() -> None:
    """A log that was never read is unavailable, and every route says so within two seconds."""
    with (
        closing(Silent()) as a,
        closing(Silent()) as b,
        closing(Silent()) as c,
        closing(Silent()) as d,
        closing(Silent()) as e,
        serve(create_app(Settings(redis_url=by(a, b, c, d, e)))) as api,
    ):
        began = time.monotonic()
        with ThreadPoolExecutor() as clients:
            paths = [f"/model/etl/{path}" for path in ("log", "log/stream", "status")]
            assert [answer.status_code for answer in clients.map(api.get, paths)] == [503, 503, 503]
        assert time.monotonic() - began < 2


@pytest.mark.timed
def test_two_silent_sentinels_of_three_cost_no_answer(primary: Server) -> None:
    """Nor does the first question wait for longer than any may."""
    with (
        closing(Silent()) as a,
        closing(Silent()) as b,
        closing(Mistaken(primary.port)) as c,
        serve(create_app(Settings(redis_url=by(a, b, c)))) as api,
    ):
        for _ in range(3):
            began = time.monotonic()
            assert api.get("/model/etl/status").status_code == 200
            assert api.log()["code"] == 200
            assert time.monotonic() - began < 2


def test_a_sentinel_that_knows_of_no_failover_is_not_believed(primary: Server, replica: Server) -> None:
    """The node that it names says itself that it is no primary; the next one is asked then."""
    with (
        closing(Mistaken(replica.port)) as wrong,
        closing(Mistaken(primary.port)) as right,
        connect(by(wrong, right), part="test") as client,
    ):
        with pytest.raises(redis.ConnectionError, match="no longer the primary"):
            client.set("by", "client")
        client.set("by", "client")
        assert (wrong.asked, right.asked) == (1, 1)

    async def ask() -> None:
        with closing(Mistaken(replica.port)) as wrong, closing(Mistaken(primary.port)) as right:
            async with connect_async(by(wrong, right), part="test") as client:
                with pytest.raises(redis.ConnectionError, match="no longer the primary"):
                    await client.get("by")
                assert await client.get("by") == b"client"

    asyncio.run(ask())


@pytest.fixture(scope="module")
def locked() -> Iterator[tuple[Server, int]]:
    """A primary without a replica that requires a password, and a sentinel that requires another."""
    server = Server()
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "stage", "on", ">of-the-store", "~*", "+@all")
    with closing(server), closing(Sentinel(server, quorum=1, password="of-the-sentinel")) as sentinel:
        yield server, sentinel.port


def test_the_sentinels_have_a_password_of_their_own(locked: tuple[Server, int]) -> None:
    """The one before the hosts is for the store; a wrong one is refused, and no outage."""
    _, port = locked
    url = f"redis+sentinel://stage:of-the-store@127.0.0.1:{port}/{NAME}/0"
    with connect(f"{url}?sentinel_password=of-the-sentinel", part="test") as client:
        assert client.execute_command("ACL", "WHOAMI") == b"stage"
    for wrong in (url, f"{url}?sentinel_password=of-the-store"):
        with connect(wrong, part="test") as client, pytest.raises(StoreRefused) as caught, translated(wrong):
            client.ping()
        assert "of-the" not in str(caught.value)


def test_without_a_replica_the_primary_is_read(locked: tuple[Server, int]) -> None:
    """By the API that should read from one."""
    server, port = locked
    url = f"redis+sentinel://stage:of-the-store@127.0.0.1:{port}/{NAME}/0?sentinel_password=of-the-sentinel"
    app = create_app(Settings(redis_url=url, read_from="replica"))
    with connect(server.url, part="test") as client, serve(app) as api:
        client.set(Keys("default").cursor, "1-0")
        assert "warning" not in api.log()
        assert "etlog-api" in [connection["name"] for connection in client.client_list()]


def test_a_primary_that_is_demoted_is_left(primary: Server, replica: Server) -> None:
    """The connection that learns of it is gone; the next one leads to the new primary."""
    with (
        closing(Mistaken(primary.port)) as before,
        closing(Mistaken(replica.port)) as after,
        connect(by(before, after), part="test") as client,
        connect(primary.url, part="test") as old,
        connect(replica.url, part="test") as new,
    ):
        client.set("a", 1)
        new.replicaof("NO", "ONE")
        old.replicaof("127.0.0.1", str(replica.port))

        with pytest.raises(redis.ConnectionError, match="READONLY"):
            client.set("a", 2)
        client.set("a", 3)
        assert new.get("a") == b"3"
