"""The way of a command to the log in the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etlog_events import contract, store
from etlog_events.settings import Settings


@contextmanager
def connected(settings: Settings, part: str) -> Iterator[Any]:
    """A client of the store, once the log of `settings` is known to be one that this version understands.

    Raises `StoreError`, also for what goes wrong inside, and `NewerContract`.
    """
    url = settings.redis_url
    with store.translated(url), store.connect(url, part=part, log=settings.name) as client:
        contract.check(client.get(settings.keys.contract), settings.name, "etlog")
        yield client
