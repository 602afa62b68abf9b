"""The connection of a command to the log in the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from etlog_events import contract, store
from etlog_events.settings import Settings


@contextmanager
def connected(settings: Settings, part: str, package: str = "etlog") -> Iterator[Any]:
    """A client of the store, once this version is known to understand the log of `settings`.

    `part` names the connection, `package` is what to upgrade. Raises `StoreError`, also for what fails in the block,
    and `OtherContract`.
    """
    url = settings.redis_url
    with store.translated(url), store.connect(url, part=part, log=settings.name) as client:
        contract.check(client.get(settings.keys.contract), settings.name, package)
        yield client
