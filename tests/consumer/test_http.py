"""The consumer's port: what it has done, and whether it gets on."""

import threading
from collections.abc import Iterator
from math import isnan

import httpx
import pytest
import redis
from etlog_consumer import Consumer, Target
from etlog_consumer.http import served
from etlog_consumer.metrics import STUCK_AFTER, LogMetrics, Metrics
from etlog_consumer.read_ahead import FIRST
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from prometheus_client.parser import text_string_to_metric_families
from support import commands
from support.consumers import Publish
from support.samples import saved
from support.servers import free_port, wait_until
from support.stream import stats


@pytest.fixture
def address(store_url: str, keys: Keys) -> Iterator[str]:
    """The port of a consumer that runs by `etlog consume`."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with commands.running("consume", redis_url=store_url, name=keys.name, metrics_port=str(port)) as consumer:
        wait_until(lambda: _is_open(address), what="the port to be open")
        yield address
        consumer.stop()
        assert consumer.wait() == 0


def test_a_consumer_tells_what_it_has_done(address: str, publish: Publish, client: redis.Redis, keys: Keys) -> None:
    """In the text format of Prometheus."""
    publish([saved(1), saved(2), b"{}", saved(3, "AssetSet")], 4)
    client.xadd(keys.events, {"event": saved(), "producer": "p", "seq": "4"})
    client.xadd(keys.events, {"event": saved(), "producer": "q", "seq": "6"})

    found = wait_until(lambda: _when(address, "etlog_lost_total", 5), what="all to be applied")

    assert found["etlog_applied_total AllocationSetSaved"] == 3
    assert found["etlog_applied_total AssetSetSaved"] == 1
    assert found["etlog_dead_total"] == 1
    assert found["etlog_duplicate_total"] == 1
    assert found["etlog_active"] == 1
    assert found["etlog_lag_entries"] == found["etlog_lag_events"] == 0
    assert found["etlog_oldest_unapplied_seconds"] == 0
    assert found["etlog_store_errors_total"] == 0
    assert found["etlog_batch_events_sum"] == 6
    assert 0 < found["etlog_apply_seconds_sum"] < 1


def test_it_is_ready_and_lives(address: str) -> None:
    """And has nothing else to tell."""
    assert httpx.get(f"{address}/readyz").text == "ready\n"
    assert httpx.get(f"{address}/healthz").text == "ok\n"
    assert httpx.get(f"{address}/").status_code == 404


def test_it_is_not_ready_without_progress() -> None:
    """The process lives, but nothing that it tried has worked for a while."""
    now = [100.0]
    metrics = Metrics(lambda: now[0])
    metrics.readiness.progressed("nightly")
    with served(metrics, "127.0.0.1", 0) as port:
        now[0] += STUCK_AFTER
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
        assert (answer.status_code, answer.text) == (503, "no progress for 15 s\n")

        metrics.readiness.progressed("hourly")
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
        assert (answer.status_code, answer.text) == (503, "no progress for 15 s with nightly\n")

        metrics.readiness.ended("nightly")
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200


def test_the_age_of_what_waits_grows() -> None:
    """Until it is applied."""
    now = [2000.0]
    process = Metrics(now=lambda: now[0])
    metrics = LogMetrics(process, "nightly")
    with served(process, "127.0.0.1", 0) as port:
        address = f"http://127.0.0.1:{port}"
        metrics.waiting(b"1990000-3")
        assert _scrape(address)["etlog_oldest_unapplied_seconds"] == 10
        now[0] += 5
        assert _scrape(address)["etlog_oldest_unapplied_seconds"] == 15
        metrics.nothing_waits()
        assert _scrape(address)["etlog_oldest_unapplied_seconds"] == 0


def test_the_lag_is_told_in_events_and_entries(
    store_url: str, client: redis.Redis, keys: Keys, publish: Publish
) -> None:
    """In entries alone where others have added some: how many events these hold is not known before they are read."""
    publish([saved(size) for size in range(3000)], 10)
    process, stop = Metrics(), threading.Event()
    metrics = LogMetrics(process, keys.name)
    with connect(store_url, part="consumer") as own, served(process, "127.0.0.1", 0) as port:
        consumer = Consumer(own, Target(keys, KUBECOST_KINDS, 1000), retain=1000, metrics=metrics)

        def lag() -> list[float]:
            found = _scrape(f"http://127.0.0.1:{port}")
            return [found["etlog_lag_entries"], found["etlog_lag_events"]]

        assert all(map(isnan, lag()))
        consumer._turn(stop)
        consumer._turn(stop)
        assert not stats(client, keys)
        consumer._turn(stop)
        assert lag() == [300 - FIRST, 3000 - 10 * FIRST]

        client.xadd(keys.events, {"event": saved()})
        consumer._look_at = 0.0
        consumer._turn(stop)
        entries, events = lag()
        assert entries == 301 - 3 * FIRST
        assert isnan(events)

        while stats(client, keys)["applied"] < 3001:
            consumer._turn(stop)
        consumer._turn(stop)
        assert lag() == [0, 0]


def _scrape(address: str) -> dict[str, float]:
    text = httpx.get(f"{address}/metrics").text
    return {
        " ".join([sample.name, *(value for name, value in sample.labels.items() if name == "kind")]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _when(address: str, name: str, value: float) -> dict[str, float] | None:
    found = _scrape(address)
    return found if found[name] == value and found["etlog_lag_entries"] == 0 else None


def _is_open(address: str) -> bool:
    try:
        return httpx.get(f"{address}/healthz").status_code == 200
    except httpx.HTTPError:
        return False
