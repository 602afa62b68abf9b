"""The status tells how the log stands, and a replica whether it is of use."""

from collections.abc import Callable

import orjson
import pytest
import redis
from etlog_api import status as statuses
from etlog_events.keys import Keys
from etlog_producer.publish import Identity, Publisher
from support.apis import Api, add, add_entry
from support.consumers import Consuming
from support.samples import saved
from support.servers import wait_until
from support.stream import raw_entries


def test_the_status_tells_what_waits_and_who_is_at_work(
    api: Api, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """While all is applied, and while some is not."""
    with consuming() as consumer:
        add(client, keys, [saved(1), saved(2), b"no event"], producer="p", seq="1")
        caught_up()
        found = api.get("/model/etl/status").json()
        assert found["code"] == 200
        data = found["data"]
        assert data["cursor"].encode() == data["last_entry"].encode() == client.get(keys.cursor)
        assert (data["entries"], data["lag"], data["oldest_unapplied"]) == (3, 0, None)
        assert {name: data["stats"].get(name) for name in ("applied", "dead", "duplicate", "published")} == {
            "applied": 1,
            "dead": None,
            "duplicate": 2,
            "published": 1,
        }
        assert client.get(keys.id) == data["id"].encode()
        assert data["active_consumer"] == consumer.name
        assert data["store"]["role"] == "master"

    add(client, keys, [saved(3), saved(4)])
    data = api.get("/model/etl/status").json()["data"]
    assert (data["entries"], data["lag"], data["lag_unit"]) == (5, 2, "entries")
    assert 0 <= data["oldest_unapplied"] < 30
    assert data["active_consumer"] is None


def test_the_status_of_a_log_that_is_none_yet(api: Api) -> None:
    """Nothing is wrong with it."""
    data = api.get("/model/etl/status").json()["data"]

    assert {name: value for name, value in data.items() if name not in {"store", "warnings"}} == {
        "id": None,
        "cursor": None,
        "last_entry": None,
        "entries": 0,
        "lag": 0,
        "lag_unit": "events",
        "lag_entries": 0,
        "oldest_unapplied": None,
        "stats": {},
        "acknowledged": {"lost": 0, "dead": 0},
        "acknowledgements": {"lost": None, "dead": None},
        "active_consumer": None,
        "heard": {"allocation": None, "asset": None},
    }
    assert api.get("/readyz").status_code == 200


def waiting(api: Api) -> tuple[int | None, str, int | None]:
    """What the status says of what waits: how many, of what, and how many entries."""
    data = api.get("/model/etl/status").json()["data"]
    assert (data["oldest_unapplied"] is None) == (data["lag_entries"] == 0)
    return data["lag"], data["lag_unit"], data["lag_entries"]


@pytest.fixture
def settle(client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]) -> Callable[[], None]:
    """Has everything applied, and noted that nothing waits: a consumer that starts does so at once."""

    def noted() -> bool:
        added: int = client.xinfo_stream(keys.events)["entries-added"]
        return int(client.hget(keys.stats, "entries") or 0) == added

    def settle() -> None:
        for _ in range(2):
            with consuming():
                caught_up()
        wait_until(noted)

    return settle


def test_events_that_wait_are_counted_unless_others_appended_some(
    api: Api, client: redis.Redis, keys: Keys, settle: Callable[[], None]
) -> None:
    """Then the entries are, until nothing waited once more."""
    publisher = Publisher(client, keys)
    publisher(Identity("p"), 1, [saved(size) for size in range(3)])
    assert waiting(api) == (3, "events", None)  # without a consumer ever, no one counts entries
    publisher(Identity("q"), 1, [saved(3)])
    assert waiting(api) == (4, "events", None)
    settle()
    assert waiting(api) == (0, "events", 0)

    publisher(Identity("p"), 4, [saved(size) for size in range(5)])
    publisher(Identity("q"), 5, [saved(0), b"no event"], skip=True)  # the three before it are lost
    assert waiting(api) == (2, "entries", 2)  # those do not wait
    add_entry(client, keys, [saved(0), saved(1)])
    assert waiting(api) == (3, "entries", 3)
    publisher(Identity("q"), 7, [saved(0)])
    assert waiting(api) == (4, "entries", 4)
    settle()
    assert waiting(api) == (0, "events", 0)

    publisher(Identity("p"), 9, [saved(0), saved(1)])
    assert waiting(api) == (2, "events", 1)
    client.xdel(keys.events, client.xinfo_stream(keys.events)["last-generated-id"])
    assert waiting(api) == (0, "events", 0)


def test_what_was_deleted_before_it_was_applied_leaves_entries_to_count(
    api: Api, client: redis.Redis, keys: Keys, settle: Callable[[], None]
) -> None:
    """No one knows how many events were in it."""
    publisher = Publisher(client, keys)
    publisher(Identity("p"), 1, [saved(0)])
    settle()
    for first in (2, 12):
        publisher(Identity("p"), first, [saved(size) for size in range(10)])
    assert waiting(api) == (20, "events", 2)
    client.xdel(keys.events, raw_entries(client, keys)[1][0])
    assert waiting(api)[1] == "entries"
    settle()
    assert waiting(api) == (0, "events", 0)


def test_a_sum_that_cannot_be_is_not_told(
    api: Api, client: redis.Redis, keys: Keys, settle: Callable[[], None]
) -> None:
    """Where stats were removed, entries are counted: while one waits, so does an event."""
    Publisher(client, keys)(Identity("p"), 1, [saved(0), saved(1)])
    settle()
    Publisher(client, keys)(Identity("p"), 3, [saved(2)])
    client.hset(keys.stats, "published", "2")
    assert waiting(api) == (1, "entries", 1)


def test_the_status_tells_which_losses_are_acknowledged(api: Api, client: redis.Redis, keys: Keys) -> None:
    """By whom and why. Those that came later are not, nor is anything once the log has begun anew."""
    client.hset(keys.stats, mapping={"lost": 5, "dead": 2})
    said = {"id": "1", "kind": "acknowledged", "reason": "r", "by": "ana@ops", "at": "2026-11-18T09:00:00Z"}
    client.hset(
        keys.marks,
        mapping={
            "1": orjson.dumps(said | {"category": "lost-events", "count": 3}),
            "2": orjson.dumps(said | {"category": "dead-letters", "count": 2, "until": "2022-06-03T10:00:00Z"}),
            "3": b"no mark",
            "revision": "2",
        },
    )

    data = api.get("/model/etl/status").json()["data"]
    assert data["acknowledged"] == {"lost": 3, "dead": 0}
    assert data["acknowledgements"] == {"lost": said | {"until": None}, "dead": None}

    client.hset(keys.stats, "lost", 2)
    data = api.get("/model/etl/status").json()["data"]
    assert (data["acknowledged"]["lost"], data["acknowledgements"]["lost"]) == (0, None)


def test_the_status_survives_marks_that_cannot_be_read(api: Api, client: redis.Redis, keys: Keys) -> None:
    """It warns of them, and nothing counts as acknowledged."""
    client.hset(keys.stats, "lost", 5)
    client.set(keys.marks, "x")

    data = api.get("/model/etl/status").json()["data"]

    assert (data["stats"], data["acknowledged"]) == ({"lost": 5}, {"lost": 0, "dead": 0})
    assert data["warnings"][-1].startswith(f"the marks of the log, {keys.marks}, cannot be read: WRONGTYPE")
    assert api.get("/readyz").status_code == 200


def test_a_replica_is_not_ready_while_nothing_is_applied_although_events_wait(
    api: Api,
    client: redis.Redis,
    keys: Keys,
    consuming: Consuming,
    caught_up: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """For a while; it is ready again as soon as something is."""
    monkeypatch.setattr(statuses, "STUCK_AFTER", 0.3)
    with consuming():
        add(client, keys, [saved(1)])
        caught_up()
    assert api.get("/readyz").json() == {"code": 200, "data": "ready"}

    add(client, keys, [saved(2)])
    assert api.get("/readyz").status_code == 200
    wait_until(lambda: api.get("/readyz").status_code == 503)
    problem = api.get("/readyz")
    assert problem.json()["code"] == 503
    assert "events wait; no consumer is active" in problem.json()["message"]
    assert problem.headers["Retry-After"] == "5"
    assert api.get("/healthz").json() == {"code": 200, "data": "ok"}
    assert api.get().status_code == 200

    with consuming():
        caught_up()
    assert api.get("/readyz").status_code == 200
