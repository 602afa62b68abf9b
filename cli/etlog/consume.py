"""`etlog consume`: the consumer as a process."""

from etlog_consumer import Consumer, Target
from etlog_events import store
from etlog_events.settings import Settings

from etlog.stopping import until_stopped


def consume(settings: Settings) -> None:
    """Apply the log until stopped. Raises `StoreError` when the store cannot be reached at the start."""
    client = store.connect(settings.redis_url, part="consumer")
    with store.translated(settings.redis_url):
        client.ping()
    target = Target(settings.keys, settings.kinds, settings.cap)
    until_stopped(Consumer(client, target, retain=settings.retain).run)
    client.close()
