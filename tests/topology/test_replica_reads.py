"""The API reads from a replica of the store, and says when that has lost its primary."""

import asyncio
import uuid

import pytest
import redis
from etlog_api.app import create_app
from etlog_api.live.stream import Stream, read_size
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.positions import START
from etlog_events.settings import Settings
from etlog_events.store import connect, connect_async
from etlog_ledger.reading.replication_link import ReplicationLink, staleness
from support.apis import apply, serve, tail
from support.samples import saved
from support.servers import Server, wait_until


@pytest.fixture
def keys() -> Keys:
    """The keys of a log that is this test's own."""
    return Keys(f"replicated-{uuid.uuid4().hex[:8]}")


STALE = "this was read from a replica of the store that lost its primary at 20"


@pytest.fixture
def reader(replica: Server) -> str:
    """The address of the replica for a user who may read, and ask how the replica is."""
    rules = ("on", ">secret", "~*", "+@read", "+@connection", "+info", "+time")
    with connect(replica.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "reader", *rules)
    return replica.url.replace("//", "//reader:secret@")


def test_an_answer_says_that_its_replica_has_lost_the_primary(primary: Server, reader: str, keys: Keys) -> None:
    """As long as it has; the log, the status and a client of the live log get what there is."""
    with serve(create_app(Settings(redis_url=reader, name=keys.name, read_from="replica"))) as api:
        apply(primary.url, keys, [saved(size) for size in range(3)])
        wait_until(lambda: api.log()["data"]["counters"] == {"AllocationSetSaved": 3}, what="the replica to be in step")
        assert "warning" not in api.log()
        assert not [text for text in api.get("/model/etl/status").json()["data"]["warnings"] if "replica" in text]

        primary.kill()
        wait_until(lambda: "warning" in api.log(), what="the warning")
        first = api.log()
        assert first["data"]["counters"] == {"AllocationSetSaved": 3}
        assert first["warning"].startswith(STALE)
        status = api.get("/model/etl/status").json()["data"]
        assert status["stats"]["applied"] == 3
        assert [text for text in status["warnings"] if text.startswith(STALE)]
        assert api.log() == first, "one outage, one beginning"

        primary.start()
        wait_until(lambda: "warning" not in api.log(), what="the link to be up again")


def test_the_live_log_follows_a_replica(primary: Server, reader: str, keys: Keys) -> None:
    """From where a client left, and on."""
    with serve(create_app(Settings(redis_url=reader, name=keys.name, read_from="replica"))) as api:
        apply(primary.url, keys, [saved(size) for size in range(2)])
        wait_until(lambda: api.log()["data"]["counters"] == {"AllocationSetSaved": 2}, what="the replica to be in step")
        with tail(api.url, last="0-1") as following:
            following.wait(2)
            apply(primary.url, keys, [saved(2)])
            following.wait(3)

    assert following.data == [saved(0), saved(1), saved(2)]


def test_a_replica_that_is_behind_is_not_taken_for_the_whole_log(primary: Server, keys: Keys) -> None:
    """A client of the live log that knows of later entries comes again, where it would have missed them."""
    apply(primary.url, keys, [saved(0)])
    stream = Stream(keys, KUBECOST_KINDS)

    async def entries(beyond: int) -> int:
        async with connect_async(primary.url, part="test") as store:
            (milliseconds, number, place), _ = await stream.now(store)
            until = (milliseconds + beyond, number, place)
            assert await stream.duplicates(store, until) == 0
            read = await stream.complete_entries(store, START, until, read_size())
            return len(read.entries) if read else 0

    assert asyncio.run(entries(0)) == 1
    with pytest.raises(redis.ConnectionError, match="behind"):
        asyncio.run(entries(1))


def test_a_question_costs_one_command_more(primary: Server, replica: Server, keys: Keys) -> None:
    """And none where no replica is read."""
    with connect(primary.url, part="test") as client, connect(replica.url, part="test") as of_replica:
        apply(primary.url, keys, [saved(size) for size in range(1)])
        counts = {}
        for node, url, read_from in ((client, primary.url, "primary"), (of_replica, replica.url, "replica")):
            with serve(create_app(Settings(redis_url=url, name=keys.name, read_from=read_from))) as api:  # type: ignore[arg-type]
                api.log()
                node.config_resetstat()
                for _ in range(10):
                    api.log()
                counts[read_from] = {name: stat["calls"] for name, stat in node.info("commandstats").items()}

    assert counts["primary"].get("cmdstat_get") == counts["replica"].get("cmdstat_get") == 10
    assert counts["primary"].get("cmdstat_info") is None
    assert counts["replica"].get("cmdstat_info") == 10


def test_an_outage_has_one_beginning_however_it_is_rounded() -> None:
    """The store tells its age in whole seconds; an answer that changed each second could not be kept."""
    link = ReplicationLink()

    link.note({"role": "slave", "master_link_status": "down", "master_link_down_since_seconds": 10})
    first = link.down_since
    link.note({"role": "slave", "master_link_status": "down", "master_link_down_since_seconds": 11})
    assert link.down_since == first is not None
    link.note({"role": "slave", "master_link_status": "down", "master_link_down_since_seconds": 100})
    assert link.down_since is not None
    assert link.down_since < first - 80
    link.note({"role": "slave", "master_link_status": "up"})
    assert link.down_since is None
    link.note({"role": "master"})
    assert link.down_since is None


def test_the_beginning_is_told_to_the_second() -> None:
    """Which is all that the store knows."""
    assert staleness(1654276074.9).startswith(
        "this was read from a replica of the store that lost its primary at 2022-06-03T17:07:54Z"
    )
