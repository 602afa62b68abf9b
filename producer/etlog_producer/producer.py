"""The library's front: `Producer`."""

import logging
import os
import re
import secrets
import socket
from datetime import datetime
from types import TracebackType
from typing import Any

from etlog_events import store
from etlog_events.errors import EtlogError, InvalidEvent, SettingsError
from etlog_events.event import Event, WindowPair
from etlog_events.keys import Keys
from etlog_events.settings import Settings, log_name, store_url

from etlog_producer import lifetime
from etlog_producer.publish import Published, Publisher
from etlog_producer.sender import Sender
from etlog_producer.stage import Stage

logger = logging.getLogger("etlog.producer")

#: Seconds that `close()` and the end of the process wait for the store.
CLOSE_TIMEOUT = 5.0


class ProducerClosed(EtlogError, RuntimeError):
    """Raised when `emit` is called after `close`."""


class Producer:
    """Publishes the events of this process to a log. Make one a process, and share it between threads.

    `url` is the address of the store and `log` the name of the log; the settings `ETLOG_REDIS_URL` and `ETLOG_NAME`
    hold where they are not given. Nothing is sent before the first event. Raises `SettingsError`, naming what is
    wrong.
    """

    def __init__(self, url: str | None = None, *, log: str | None = None) -> None:
        settings = Settings.from_environment()
        self._url = settings.redis_url if url is None else _argument("url", store_url, url)
        self._keys = settings.keys if log is None else Keys(_argument("log", log_name, log))
        self._kinds = settings.kinds
        self._closed = False
        self._begin()
        lifetime.follow(self)

    def begin_again(self) -> None:
        """Start over in a process that was forked off: under an id of its own, without the parent's events."""
        if not self._closed:
            self._begin()

    def _begin(self) -> None:
        self._id = _new_id()
        client = store.connect(self._url, part="producer")
        publisher = Publisher(client, self._keys)

        def publish(first: int, events: list[bytes], skip: bool) -> Published:
            return publisher(self._id, first, events, skip=skip)

        self._sender = Sender(publish, client.connection_pool.disconnect)

    @property
    def id(self) -> str:
        """This producer's id: host, process and a random part. Its events are numbered under it."""
        return self._id

    def emit(
        self,
        kind: str,
        *,
        size: int | None = None,
        window: WindowPair | None = None,
        error: str | None = None,
        time: datetime | str | None = None,
        **metadata: Any,
    ) -> None:
        """Accept an event, to be delivered in the background; takes microseconds and never waits for the store.

        `size` is the number of records in the set, `window` its start and end (aware datetimes or RFC 3339 texts),
        `error` what failed, `time` when it happened (now if not given); further keywords are kept as metadata.
        Raises `InvalidEvent`, naming the fault, for an event that breaks a rule; `ProducerClosed` after `close`.
        """
        event = Event.new(kind, size=size, window=window, error=error, time=time, metadata=metadata, kinds=self._kinds)
        self.publish(event)

    def publish(self, event: Event) -> None:
        """Accept an event that was made or decoded before, as `emit` does.

        Raises `InvalidEvent` for more than 64 KiB or metadata that is no JSON; `ProducerClosed` after `close`.
        """
        if self._closed:
            raise ProducerClosed("an event was emitted after close()")
        self._sender.put(event.encode())

    @property
    def last_error(self) -> str | None:
        """Why the store took nothing at the last attempt; None while it takes what it is given."""
        return self._sender.last_error

    def stage(self, prefix: str, *, window: WindowPair | None = None) -> Stage:
        """A stage at work on the set of `window`; `prefix` is that of its category, such as `AllocationSet`.

        Raises `InvalidEvent` for a prefix that no kind begins with.
        """
        if prefix not in self._kinds.categories.values():
            raise InvalidEvent(f"unknown prefix {prefix!r}; it is one of {', '.join(self._kinds.categories.values())}")
        return Stage(self.emit, prefix, window)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the store holds every event emitted before the call, at most `timeout` seconds.

        Returns whether it does. Without a timeout it waits as long as the store is away.
        """
        return self._sender.flush(timeout)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> None:
        """Deliver what waits, at most `timeout` seconds, and stop. What could not be delivered is logged."""
        if self._closed:
            return
        self._closed = True
        self._sender.flush(timeout)
        self._sender.stop()
        undelivered = self._sender.undelivered
        if undelivered or self._sender.dropped:
            logger.warning(
                "Closed with %d events undelivered and %d dropped; the store is %s",
                undelivered,
                self._sender.dropped,
                store.shown(self._url),
                extra={"action": "closed_undelivered", "undelivered": undelivered, "dropped": self._sender.dropped},
            )

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _argument(name: str, check: Any, value: str) -> str:
    try:
        checked: str = check(value)
    except ValueError as e:
        raise SettingsError(f"{name} {e}") from e
    return checked


def _new_id() -> str:
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "host"
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
