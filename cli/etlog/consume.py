"""`etlog consume`: the consumer as a process."""

import logging
from contextlib import nullcontext
from typing import Any

import redis
from etlog_consumer import Consumer, Target
from etlog_consumer.endpoint import served
from etlog_consumer.metrics import Metrics
from etlog_events import contract, store
from etlog_events.durability import store_warnings
from etlog_events.settings import Settings

from etlog.errors import CommandFailed
from etlog.stopping import until_stopped

logger = logging.getLogger("etlog.consumer")


def consume(settings: Settings) -> None:
    """Apply the log until stopped. Raises `StoreError` when the store cannot be reached at the start.

    Raises `NewerContract` when the log is one that this version does not understand, now or later.
    """
    client: Any = store.connect(settings.redis_url, part="consumer", log=settings.name)
    with store.translated(settings.redis_url):
        contract.check(client.get(settings.keys.contract), settings.name, "etlog-consumer")
        _warn(client)
    target = Target(settings.keys, settings.kinds, settings.cap)
    metrics = Metrics()
    consumer = Consumer(client, target, retain=settings.retain, metrics=metrics)
    port = settings.metrics_port
    try:
        with served(metrics, settings.host, port) if port else nullcontext():
            until_stopped(consumer.run)
    except OSError as e:
        raise CommandFailed(
            f"{settings.host}:{port} cannot be listened on: {e.strerror}; name another in ETLOG_METRICS_PORT"
        ) from e
    client.close()


def _warn(client: redis.Redis) -> None:
    """Say at the start what endangers the log. The store may forbid to ask; that is no reason not to start."""
    try:
        info = client.info()
    except redis.ResponseError:  # loading, or not permitted
        return
    for warning in store_warnings(info):
        logger.warning("Beware: %s", warning, extra={"action": "store_warning"})
