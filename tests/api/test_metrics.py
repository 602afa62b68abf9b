"""The metrics tell of the requests to this process, and of the log as it is when they are asked for."""

import math
from collections.abc import Callable

import redis
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from prometheus_client.parser import text_string_to_metric_families
from support.apis import Api, Serving, add, tail
from support.consumers import Consuming
from support.samples import saved
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
    assert (found["etlog_lag_events"], found["etlog_lag_entries"], found["etlog_oldest_unapplied_seconds"]) == (0, 0, 0)
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

    with consuming():  # notes at once that nothing waits, so that events can be counted
        wait_until(lambda: int(client.hget(keys.stats, "entries") or 0) == 3)
    Publisher(client, keys)(Identity("q"), 1, [saved(3), saved(4)])
    found = metrics(api)
    assert (found["etlog_lag_events"], found["etlog_lag_entries"]) == (2, 1)
    add(client, keys, [saved(5)])
    wait_until(lambda: metrics(api)["etlog_oldest_unapplied_seconds"] > 0)
    found = metrics(api)
    assert math.isnan(found["etlog_lag_events"])
    assert found["etlog_lag_entries"] == 2
    assert not any(name.startswith("etlog_active_consumer") for name in found)


def test_the_metrics_tell_whether_the_store_keeps_the_log(serving: Serving, server: Server) -> None:
    """By its append-only file; while the store is away, it is not a number."""
    with serving(redis_url=server.url) as api:
        assert metrics(api)["etlog_store_persistent"] == 1
        with connect(server.url, part="test") as client:
            client.config_set("appendonly", "no")
        assert metrics(api)["etlog_store_persistent"] == 0
        server.kill()
        assert math.isnan(metrics(api)["etlog_store_persistent"])
