"""The connection to the store, and its errors in our words.

A client from here never retries by itself: each part knows better than the driver what is safe to send again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from etlog_events.errors import SettingsError, StoreRefused, StoreUnavailable

#: Seconds to wait for a connection. A store on the same network answers in milliseconds.
CONNECT_TIMEOUT = 2.0

#: Seconds to wait for an answer. Longer than any script of ours, shorter than anyone's patience.
ANSWER_TIMEOUT = 5.0

#: Milliseconds that a blocking read may wait in the store. Far below `ANSWER_TIMEOUT`, or an idle log would look like
#: a store that is gone; and short enough that a stop is seen in time.
BLOCK_MS = 500


def connect(url: str, *, part: str, answer_timeout: float = ANSWER_TIMEOUT, **options: Any) -> "redis.Redis":
    """A client for the store at `url`; nothing is sent yet.

    `part` names the connection in `CLIENT LIST`. Raises `SettingsError` for an address that cannot be one.
    """
    with _explained_address():
        return redis.Redis.from_url(
            url,
            **_options(part, answer_timeout, Retry(NoBackoff(), 0)),
            **options,
        )


def connect_async(
    url: str, *, part: str, answer_timeout: float = ANSWER_TIMEOUT, **options: Any
) -> "redis.asyncio.Redis":
    """`connect` for asyncio."""
    with _explained_address():
        return redis.asyncio.Redis.from_url(
            url,
            **_options(part, answer_timeout, AsyncRetry(NoBackoff(), 0)),
            **options,
        )


def _options(part: str, answer_timeout: float, retry: Any) -> dict[str, Any]:
    return {
        "client_name": f"etlog-{part}",
        "socket_timeout": answer_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry": retry,
        "protocol": 2,
        "legacy_responses": True,
    }


@contextmanager
def _explained_address() -> Iterator[None]:
    try:
        yield
    except ValueError as e:
        raise SettingsError(f"ETLOG_REDIS_URL is no address of a store: {e}") from e


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the driver's errors inside into `StoreUnavailable` and `StoreRefused`, naming the store without secrets."""
    try:
        yield
    except _UNAVAILABLE as e:
        raise StoreUnavailable(f"the store at {shown(url)} cannot be reached: {e}") from e
    except redis.RedisError as e:
        raise StoreRefused(f"the store at {shown(url)} refused: {e}") from e


_UNAVAILABLE = (redis.ConnectionError, redis.TimeoutError, redis.exceptions.BusyLoadingError, OSError)


def shown(url: str) -> str:
    """`url` without user, password and parameters, for people to read."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
