"""The connection to the store, and its errors in our words.

A client from here never retries by itself: each part knows better than the driver what is safe to send again. Where
the store is several nodes, behind sentinels or in a cluster, the client connects to the one that has the log at the
moment, and looks for it again whenever it connects.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import MovedError
from redis.retry import Retry

from etlog_events import address, connection, connection_async
from etlog_events.errors import SettingsError, StoreRefused, StoreUnavailable
from etlog_events.way import ReadFrom, Way

#: Seconds to wait for a connection. A store on the same network answers in milliseconds.
CONNECT_TIMEOUT = 2.0

#: Seconds to wait for an answer. Longer than any script of ours, shorter than anyone's patience.
ANSWER_TIMEOUT = 5.0

#: Milliseconds that a blocking read may wait in the store. Far below `ANSWER_TIMEOUT`, or an idle log would look like
#: a store that is gone; and short enough that a stop is seen in time.
BLOCK_MS = 500

#: What an address may add after `?`. Further options of the driver change how it waits and what it answers.
_OPTIONS = re.compile(r"db|username|password|ssl_[a-z_]+")


def connect(
    url: str,
    *,
    part: str,
    log: str | None = None,
    read_from: ReadFrom = "primary",
    answer_timeout: float = ANSWER_TIMEOUT,
    **options: Any,
) -> "redis.Redis":
    """A client for the store at `url`; nothing is sent yet.

    `part` names the connection in `CLIENT LIST`. `log` is the log that the client is for: in a cluster, it reaches
    the node that has this one. With `read_from="replica"` it reaches a replica of it, and the primary if there is
    none; an address of one node is taken as it is. Raises `SettingsError` for an address that cannot be one.
    """
    options = _options(part, answer_timeout, Retry(NoBackoff(), 0)) | options
    with _explained_address(url):
        if address.names_several(url):
            client = connection.client(Way.of(url, log, read_from), greeting_timeout=CONNECT_TIMEOUT, **options)
        else:
            client = redis.Redis.from_url(url, **options)
        client.connection_pool.make_connection()
    return client


def connect_async(
    url: str,
    *,
    part: str,
    log: str | None = None,
    read_from: ReadFrom = "primary",
    answer_timeout: float | None = ANSWER_TIMEOUT,
    **options: Any,
) -> "redis.asyncio.Redis":
    """`connect` for asyncio. Without `answer_timeout`, the caller bounds each of his questions."""
    options = _options(part, answer_timeout, AsyncRetry(NoBackoff(), 0)) | options
    with _explained_address(url):
        if address.names_several(url):
            client = connection_async.client(Way.of(url, log, read_from), **options)
        else:
            client = redis.asyncio.Redis.from_url(url, **options)
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return client


def check_address(url: str) -> None:
    """Raise `ValueError` for an address that the driver would not take, or would take for another one.

    The text repeats no piece of it: where a password was not escaped, the pieces are not what they seem to be.
    """
    if address.names_several(url):
        for plain in address.parse(url).plain:
            check_address(plain)
        return
    try:
        parts = urlsplit(url)
        port = parts.port
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"its host, port or options cannot be understood; {_ESCAPE}") from None
    if parts.fragment or re.search(r"\s", url):
        raise ValueError(f"it holds a space or a #; {_ESCAPE}")
    if parts.scheme == "unix":
        if parts.path in {"", "/"} or parts.netloc.rpartition("@")[2]:
            raise ValueError("it does not name a socket by its full path, as unix:///run/redis.sock does")
    else:
        if not parts.hostname:
            raise ValueError("it names no host")
        if port == 0:
            raise ValueError("its port is not from 1 to 65535")
        if not re.fullmatch(r"/?|/[0-9]+", parts.path):
            raise ValueError(f"what follows host and port is not the number of a database; {_ESCAPE}")
    if not all(_OPTIONS.fullmatch(name) for name, _ in options):
        raise ValueError(f"its options are not among db, username, password and ssl_*; {_ESCAPE}")


_ESCAPE = "the signs / ? # @ and spaces in a password are written %2F %3F %23 %40 and %20"


def _options(part: str, answer_timeout: float | None, retry: Any) -> dict[str, Any]:
    return {
        "client_name": f"etlog-{part}",
        "socket_timeout": answer_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry": retry,
        "protocol": 2,
        "legacy_responses": True,
    }


@contextmanager
def _explained_address(url: str) -> Iterator[None]:
    try:
        check_address(url)
        yield
    except ValueError as e:
        raise SettingsError(f"ETLOG_REDIS_URL is no address of a store: {e}") from e
    except (TypeError, redis.RedisError) as e:  # what the driver says of options, once it makes a connection
        raise SettingsError("ETLOG_REDIS_URL is no address of a store: it has an option that is not known") from e


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Turn the driver's errors inside into `StoreUnavailable` and `StoreRefused`, naming the store without secrets."""
    try:
        yield
    except _REFUSED as e:
        raise StoreRefused(f"the store at {shown(url)} refused: {e}") from e
    except _UNAVAILABLE as e:
        raise StoreUnavailable(f"the store at {shown(url)} cannot be reached: {e}") from e
    except MovedError as e:
        raise StoreRefused(
            f"the store at {shown(url)} is a node of a cluster, whose address is redis+cluster://host:port,host:port"
        ) from e
    except redis.RedisError as e:
        raise StoreRefused(f"the store at {shown(url)} refused: {e}") from e


#: Connection errors by the driver's reckoning, but waiting does not mend a password.
_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
_UNAVAILABLE = (redis.ConnectionError, redis.TimeoutError, OSError)


def shown(url: str) -> str:
    """`url` without user, password and parameters, for people to read; of an address that is none, nothing."""
    try:
        check_address(url)
    except ValueError:
        return "an address that is none"
    if address.names_several(url):
        return address.parse(url).shown
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"
