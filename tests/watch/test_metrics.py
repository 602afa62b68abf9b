"""The watcher's port: what it has told, and whether it judges its logs."""

from math import isnan

import httpx
from etlog_watch.http import served
from etlog_watch.metrics import STUCK_AFTER, LogMetrics, Metrics
from prometheus_client.parser import text_string_to_metric_families

Scraped = dict[tuple[str, frozenset[str]], float]


def scraped(port: int) -> Scraped:
    """Every sample, by its name and the values of its labels."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: Scraped, name: str, *labels: str) -> float:
    """The value of one sample."""
    return found[f"etlog_watch_{name}", frozenset(labels)]


def test_it_tells_what_is_open_and_what_waits_while_it_is_the_one_that_tells() -> None:
    """One that stands by does not know, which is not the same as none."""
    now = [2000.0]
    process = Metrics(now=lambda: now[0])
    log = LogMetrics(process, "nightly")
    with served(process, "127.0.0.1", 0) as port:
        found = scraped(port)
        assert of(found, "active", "nightly") == 0
        assert isnan(of(found, "problems", "nightly", "failed"))
        assert isnan(of(found, "outbox_messages", "nightly"))
        assert isnan(of(found, "oldest_message_seconds", "nightly"))
        assert isnan(of(found, "judged_timestamp_seconds", "nightly"))

        log.judged(["failed", "store", "failed"], [1995.0, 1990.0, 1999.0])
        now[0] += 5
        found = scraped(port)
        assert of(found, "active", "nightly") == 1
        assert of(found, "problems", "nightly", "failed") == 2
        assert of(found, "problems", "nightly", "store") == 1
        assert of(found, "problems", "nightly", "stopped") == 0
        assert of(found, "outbox_messages", "nightly") == 3
        assert of(found, "oldest_message_seconds", "nightly") == 15
        assert of(found, "judged_timestamp_seconds", "nightly") == 2000

        log.judged(["stopped"], [])
        found = scraped(port)
        assert of(found, "problems", "nightly", "failed") == 0
        assert of(found, "problems", "nightly", "stopped") == 1
        assert of(found, "outbox_messages", "nightly") == 0
        assert of(found, "oldest_message_seconds", "nightly") == 0
        assert of(found, "judged_timestamp_seconds", "nightly") == 2005

        log.store_failed()
        found = scraped(port)
        assert of(found, "active", "nightly") == 0
        assert isnan(of(found, "problems", "nightly", "stopped"))
        assert isnan(of(found, "oldest_message_seconds", "nightly"))
        assert of(found, "judged_timestamp_seconds", "nightly") == 2005

        log.judged(["stopped"], [])
        assert of(scraped(port), "active", "nightly") == 1
        log.ended()
        found = scraped(port)
        assert of(found, "active", "nightly") == 0
        assert isnan(of(found, "problems", "nightly", "stopped"))
        assert isnan(of(found, "oldest_message_seconds", "nightly"))


def test_it_counts_what_it_sent_by_target_type_and_outcome() -> None:
    """And the errors of the store, by log."""
    process = Metrics()
    LogMetrics(process, "nightly").store_failed()
    target, type = "https://hooks.example.com#0", "etlog.problem.opened"
    process.attempted(target, "opened", "later")
    process.attempted(target, "opened", "later")
    process.attempted(target, "opened", "sent")
    with served(process, "127.0.0.1", 0) as port:
        found = scraped(port)

    assert of(found, "messages_total", target, type, "later") == 2
    assert of(found, "messages_total", target, type, "sent") == 1
    assert of(found, "store_errors_total", "nightly") == 1


def test_it_is_not_ready_while_a_log_is_not_dealt_with() -> None:
    """The process lives, and the others of its logs do not hide the one that is stuck, be it from the start."""
    now = [100.0]
    process = Metrics(lambda: now[0])
    nightly, hourly = LogMetrics(process, "nightly"), LogMetrics(process, "hourly")
    with served(process, "127.0.0.1", 0) as port:

        def ready() -> tuple[int, str]:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
            return answer.status_code, answer.text

        now[0] += STUCK_AFTER - 1
        hourly.standing_by()
        assert ready() == (200, "ready\n")

        now[0] += 1
        nightly.store_failed()
        assert ready() == (503, "no progress for 60 s with nightly\n")
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").text == "ok\n"
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 404

        nightly.judged([], [])
        assert ready() == (200, "ready\n")

        now[0] += STUCK_AFTER - 1
        hourly.judged([], [])
        nightly.ended()
        now[0] += 1
        assert ready() == (200, "ready\n")
