"""`etlog consume`: the consumer as a process."""

import gc
import logging
import threading
from contextlib import nullcontext
from typing import Any

import redis
from etlog_consumer import Consumer, Fleet, Target
from etlog_consumer.http import served
from etlog_consumer.ledger import MOST_BYTES
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_events import store
from etlog_events.keys import CONSUMERS, Keys
from etlog_events.settings import Settings
from etlog_events.store.health import store_warnings

from etlog import logging_setup
from etlog.connection import connected
from etlog.errors import CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of
from etlog.spool_files import SpoolMetrics
from etlog.stopping import until_stopped

app = new_app()
logger = logging.getLogger("etlog.consumer")

#: New objects after which the garbage collector looks for cycles. A batch brings 8,000, and no cycle among them.
GC_EVERY = 50_000


@app.command()
def consume(redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Apply the stream to the lists and counters, until stopped. Start as many as you like: one is active, and
    another takes over when it ends.

    With several logs in ETLOG_NAMES, each process applies its share of them.

    \b
    etlog consume --redis-url redis://127.0.0.1:6379/0 --log nightly
    ETLOG_NAMES=nightly,hourly etlog consume
    """
    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure(settings.log_level, settings.log_format)
    run(settings)


def run(settings: Settings) -> None:
    """Apply the logs of `settings` until stopped.

    Raises `StoreError` when the store cannot be reached at the start, and `OtherContract` for a log that this version
    does not understand, at any time.
    """
    gc.set_threshold(GC_EVERY)
    metrics, port = Metrics(), settings.metrics_port
    metrics.registry.register(SpoolMetrics(settings))
    of_log = {log: LogMetrics(metrics, log) for log in settings.logs}

    def connect(key: str) -> Any:
        return store.connect(settings.redis_url, part="consumer", log=key)

    def apply(log: str, name: str | None, stop: threading.Event) -> None:
        several = len(settings.logs) > 1
        with logging_setup.about(log if several else None), connect(log) as client:
            target = Target(Keys(log), settings.kinds, settings.cap, settings.keep_sets)
            Consumer(
                client,
                target,
                retain=settings.retain,
                name=name,
                metrics=of_log[log],
                most_bytes=MOST_BYTES // len(settings.logs),
            ).run(stop)

    def work(stop: threading.Event) -> None:
        if len(settings.logs) == 1:
            apply(settings.name, None, stop)
            return
        with connect(CONSUMERS) as client:
            Fleet(client, settings.logs, apply, metrics).run(stop)

    with connected(settings, "consumer", "etlog-consumer") as client:
        warn(client)
    try:
        with served(metrics, settings.host, port) if port else nullcontext():
            until_stopped(work)
    except OSError as e:
        raise CommandFailed(
            f"cannot listen on {settings.host}:{port}: {e.strerror}; name another port in ETLOG_METRICS_PORT"
        ) from e


def warn(client: redis.Redis) -> None:
    """Log what in the store's configuration endangers the log. A store that does not tell is no reason to stop."""
    try:
        info = client.info()
    except redis.ResponseError:  # loading, or not permitted
        return
    for warning in store_warnings(info):
        logger.warning("Beware: %s", warning, extra={"action": "store_warning"})
