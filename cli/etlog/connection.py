"""The connection of a command to the log in the store."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@contextmanager
def one_connection(client: Any) -> Iterator[Any]:
    """A client for `scripts` with a single connection, which it does not replace: HSCAN goes on only on the server
    where it began."""
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        yield _Client(_Pool(connection))
    finally:
        pool.release(connection)


@dataclass(frozen=True, slots=True)
class _Pool:
    connection: Any

    def get_connection(self) -> Any:
        return self.connection

    def release(self, connection: Any) -> None:
        """It is not given back before the end."""


@dataclass(frozen=True, slots=True)
class _Client:
    connection_pool: _Pool
