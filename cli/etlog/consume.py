"""`etlog consume`: the consumer as a process."""

import gc
import logging
import threading
from contextlib import nullcontext
from typing import Any

import redis
from etlog_consumer import Consumer, Fleet, Target
from etlog_consumer.http import served
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_events import contract, store
from etlog_events.keys import CONSUMERS, Keys
from etlog_events.settings import Settings
from etlog_events.store.health import store_warnings

from etlog import logging_setup
from etlog.errors import CommandFailed
from etlog.stopping import until_stopped

logger = logging.getLogger("etlog.consumer")

#: Lists and the like that are made between two searches for cycles. A batch brings 8000, in which there are none.
GC_EVERY = 50_000


def consume(settings: Settings) -> None:
    """Apply the logs until stopped. Raises `StoreError` when the store cannot be reached at the start.

    Raises `NewerContract` when a log is one that this version does not understand, now or later.
    """
    gc.set_threshold(GC_EVERY)
    metrics, port = Metrics(), settings.metrics_port
    of_log = {log: LogMetrics(metrics, log) for log in settings.logs}

    def connect(key: str) -> Any:
        return store.connect(settings.redis_url, part="consumer", log=key)

    def apply(log: str, name: str | None, stop: threading.Event) -> None:
        several = len(settings.logs) > 1
        with logging_setup.about(log if several else None), connect(log) as client:
            target = Target(Keys(log), settings.kinds, settings.cap)
            Consumer(client, target, retain=settings.retain, name=name, metrics=of_log[log]).run(stop)

    def work(stop: threading.Event) -> None:
        if len(settings.logs) == 1:
            apply(settings.name, None, stop)
            return
        with connect(CONSUMERS) as client:
            Fleet(client, settings.logs, apply, metrics).run(stop)

    with store.translated(settings.redis_url), connect(settings.name) as client:
        contract.check(client.get(settings.keys.contract), settings.name, "etlog-consumer")
        _warn(client)
    try:
        with served(metrics, settings.host, port) if port else nullcontext():
            until_stopped(work)
    except OSError as e:
        raise CommandFailed(
            f"{settings.host}:{port} cannot be listened on: {e.strerror}; name another in ETLOG_METRICS_PORT"
        ) from e


def _warn(client: redis.Redis) -> None:
    """Say at the start what endangers the log. The store may forbid to ask; that is no reason not to start."""
    try:
        info = client.info()
    except redis.ResponseError:  # loading, or not permitted
        return
    for warning in store_warnings(info):
        logger.warning("Beware: %s", warning, extra={"action": "store_warning"})
