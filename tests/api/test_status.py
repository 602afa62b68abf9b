"""The status tells how the log stands, and a replica whether it is of use."""

from collections.abc import Callable

import pytest
import redis
from etlog_api import status as statuses
from etlog_events.keys import Keys
from support.apis import Api, add
from support.consumers import Consuming
from support.samples import saved
from support.servers import wait_until


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
        assert data["stats"] == {"applied": 1, "duplicate": 2}
        assert data["active_consumer"] == consumer.name
        assert data["store"]["role"] == "master"

    add(client, keys, [saved(3), saved(4)])
    data = api.get("/model/etl/status").json()["data"]
    assert (data["entries"], data["lag"]) == (5, 2)
    assert 0 <= data["oldest_unapplied"] < 30
    assert data["active_consumer"] is None


def test_the_status_of_a_log_that_is_none_yet(api: Api) -> None:
    """Nothing is wrong with it."""
    data = api.get("/model/etl/status").json()["data"]

    assert {name: value for name, value in data.items() if name not in {"store", "warnings"}} == {
        "cursor": None,
        "last_entry": None,
        "entries": 0,
        "lag": 0,
        "oldest_unapplied": None,
        "stats": {},
        "active_consumer": None,
    }
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
