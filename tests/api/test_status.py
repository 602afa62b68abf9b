"""Status, metrics, health and bug report tell how the log stands; none of them tells a secret."""

import io
import math
import time
import zipfile
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis
from etlog_api import status as statuses
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from prometheus_client.parser import text_string_to_metric_families
from support.apis import Api, Fill, Serving, add, tail
from support.consumers import Consuming
from support.samples import DOCUMENTED, saved
from support.servers import Server, wait_until


def metrics(api: Api) -> dict[str, float]:
    """Every sample of the metrics, by name and labels."""
    answer = api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        sample.name
        + "".join(f" {value}" for name, value in sorted(sample.labels.items()) if name != "log"): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


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


def test_the_metrics_tell_of_requests_and_of_the_log(
    api: Api, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """Requests by route and status, however odd their paths; the log as it is when it is asked."""
    with consuming() as consumer:
        add(client, keys, [saved(1), b"no event"])
        add(client, keys, [saved(2)], producer="p", seq="4")
        caught_up()
        for path in ("/model/etl/log", "/model/etl/log?limit=1", "/model/etl/log?limit=0", "/x", "/y%0a", "/healthz"):
            api.get(path)
        api.client.post("/model/etl/log")
        with tail(api.url):
            pass
        found = metrics(api)
        assert found[f"etlog_active_consumer {consumer.name}"] == 1

    requests = {name: value for name, value in found.items() if name.startswith("etlog_requests_total")}
    assert requests == {
        "etlog_requests_total /model/etl/log 200": 2,
        "etlog_requests_total /model/etl/log 400": 1,
        "etlog_requests_total /model/etl/log 405": 1,
        "etlog_requests_total /model/etl/log/stream 200": 1,
        "etlog_requests_total none 404": 2,
        "etlog_requests_total /healthz 200": 1,
    }
    assert found["etlog_request_seconds_count /model/etl/log"] == 4
    assert found["etlog_request_seconds_bucket +Inf /model/etl/log"] == 4
    assert 0 < found["etlog_request_seconds_sum /model/etl/log"] < 10
    assert 0 < found["etlog_snapshot_age_seconds"] < 30
    assert found["etlog_store_up"] == 1
    assert (found["etlog_lag_entries"], found["etlog_oldest_unapplied_seconds"]) == (0, 0)
    assert {name: found[f"etlog_stats {name}"] for name in ("applied", "dead", "duplicate", "lost")} == {
        "applied": 2,
        "dead": 1,
        "duplicate": 0,
        "lost": 3,
    }
    counters = {
        name.removeprefix("etlog_counters "): n for name, n in found.items() if name.startswith("etlog_counters")
    }
    assert counters == {kind: 2 if kind == "AllocationSetSaved" else 0 for kind in KUBECOST_KINDS.by_name}

    add(client, keys, [saved(3)])
    wait_until(lambda: metrics(api)["etlog_oldest_unapplied_seconds"] > 0)
    found = metrics(api)
    assert found["etlog_lag_entries"] == 1
    assert not any(name.startswith("etlog_active_consumer") for name in found)


def test_the_metrics_tell_whether_the_store_keeps_the_log(serving: Serving, server: Server) -> None:
    """By its append-only file; while the store is away, nobody knows."""
    with serving(redis_url=server.url) as api:
        assert metrics(api)["etlog_store_persistent"] == 1
        with connect(server.url, part="test") as client:
            client.config_set("appendonly", "no")
        assert metrics(api)["etlog_store_persistent"] == 0
        server.kill()
        assert math.isnan(metrics(api)["etlog_store_persistent"])


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


@pytest.fixture
def unpacked(api: Api) -> Callable[[], dict[str, bytes]]:
    """The files of a bug report."""

    def download() -> dict[str, bytes]:
        answer = api.get("/model/etl/bugreport")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="etlog-bugreport-2')
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            return {name.removeprefix("etlog-bugreport/"): archive.read(name) for name in archive.namelist()}

    return download


def test_a_bug_report_is_complete(api: Api, fill: Fill, unpacked: Callable[[], dict[str, bytes]]) -> None:
    """The log as it is answered, the status, all settings, the store, what was refused, and versions."""
    fill([*DOCUMENTED["asset"], b"\xff\x00 no event"])

    files = unpacked()

    assert files["log.json"] == api.get().content
    parsed: dict[str, Any] = {name: orjson.loads(text) for name, text in files.items()}
    assert set(parsed) == {"log.json", "status.json", "settings.json", "store.json", "dead.json", "versions.json"}
    assert parsed["status.json"]["stats"] == {"applied": 3, "dead": 1, "unnumbered": 4}
    assert parsed["settings.json"]["ETLOG_CAP"] == "1000"
    assert parsed["store.json"]["role"] == "master"
    [letter] = parsed["dead.json"]
    assert letter["raw"] == "\\xff\x00 no event"
    assert letter["reason"].startswith("not JSON")
    assert {"python", "platform", "etlog-api", "etlog-events", "redis"} <= set(parsed["versions.json"])


@pytest.mark.timed
def test_a_bug_report_holds_a_log_of_long_events(
    api: Api, fill: Fill, unpacked: Callable[[], dict[str, bytes]]
) -> None:
    """Others get their answers while it is packed."""
    fill([saved(size, note=str(size) * 10_000) for size in range(300)])

    began = time.monotonic()
    files = unpacked()

    assert len(files["log.json"]) > 7_000_000
    assert time.monotonic() - began < 10
