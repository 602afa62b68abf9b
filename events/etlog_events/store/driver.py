"""The driver, redis-py: the options of every client, and its errors in etlog's words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import MovedError

from etlog_events.errors import SettingsError, StoreRefused, StoreUnavailable
from etlog_events.store.liveness import tcp_options
from etlog_events.store.url import check, shown

#: Seconds to wait for a connection. A store on the same network answers in milliseconds.
CONNECT_TIMEOUT = 2.0

#: Seconds to wait for an answer. Longer than any script of etlog runs, shorter than anyone's patience.
ANSWER_TIMEOUT = 5.0

#: Milliseconds that a blocking read may wait in the store. Far below `ANSWER_TIMEOUT`, or an idle log would look like
#: a store that is gone; and short enough that a stop is seen in time.
BLOCK_MS = 500

#: Connection errors by the driver's reckoning, but waiting does not fix a password.
_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
_UNAVAILABLE = (redis.ConnectionError, redis.TimeoutError, OSError)


def client_options(url: str, part: str, answer_timeout: float | None, retry: Any) -> dict[str, Any]:
    """The options of a client at `url` for `part`, which names its connections in `CLIENT LIST`."""
    return {
        **({} if url.startswith("unix:") else network_options()),
        "client_name": f"etlog-{part}",
        "socket_timeout": answer_timeout,
        "socket_connect_timeout": CONNECT_TIMEOUT,
        "retry": retry,
        "protocol": 2,
        "legacy_responses": True,
    }


def network_options() -> dict[str, Any]:
    """The options of a connection over a network."""
    return {"socket_keepalive": True, "socket_keepalive_options": tcp_options()}


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Turn what goes wrong while a client for `url` is made into `SettingsError`, without a piece of the address."""
    try:
        check(url)
        yield
    except ValueError as e:
        raise SettingsError(f"ETLOG_REDIS_URL is not a store address: {e}") from e
    except (TypeError, redis.RedisError) as e:  # what the driver says of options, once it makes a connection
        raise SettingsError("ETLOG_REDIS_URL is not a store address: it has an unknown option") from e


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
            f"the store at {shown(url)} is a node of a cluster; "
            "the address of a cluster is redis+cluster://host:port,host:port"
        ) from e
    except redis.RedisError as e:
        raise StoreRefused(f"the store at {shown(url)} refused: {e}") from e
