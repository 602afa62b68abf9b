"""A client whose commands a test watches, one by one: to change something in between, or to die."""

from collections.abc import Callable
from typing import Any

from support.stream import Client


class Watched:
    """A client that calls `before` or `after` with the number of each command that is sent, from 1 on. The reply to it
    is lost if `after` raises."""

    def __init__(
        self,
        client: Client,
        before: Callable[[int], Any] = lambda number: None,
        after: Callable[[int], Any] = lambda number: None,
    ) -> None:
        self._client, self._before, self._after = client, before, after
        self._number = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    @property
    def connection_pool(self) -> Any:
        """Of watched connections."""
        return self

    def get_connection(self) -> Any:
        """A connection that is watched."""
        return _WatchedConnection(self, self._client.connection_pool.get_connection())

    def release(self, connection: Any) -> None:
        """Take it back."""
        self._client.connection_pool.release(connection.real)

    def send(self, connection: Any, packed: Any) -> None:
        """Send commands."""
        self._number += 1
        self._before(self._number)
        connection.send_packed_command(packed)
        self._after(self._number)


class _WatchedConnection:
    def __init__(self, client: Watched, real: Any) -> None:
        self.client, self.real = client, real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def send_packed_command(self, packed: Any) -> None:
        """Send commands."""
        self.client.send(self.real, packed)


class Killed(Exception):
    """Raised where the process would have died."""


def killed_at(number: int) -> Callable[[int], None]:
    """Die at the command of that number."""

    def look(at: int) -> None:
        if at == number:
            raise Killed

    return look
