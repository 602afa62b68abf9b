"""When a batch counts as delivered: once the store answered, once it is on disk, or once a replica has it."""

from typing import Any, Literal

import redis
from etlog_events.errors import StoreUnavailable

from etlog_producer.errors import AcksUnavailable

Acks = Literal["memory", "fsync", "replica"]

#: Milliseconds to wait for the disk or the replica. A store that syncs every second needs up to two; less than the
#: time after which a silent connection is given up.
ACK_TIMEOUT_MS = 3000

_COMMANDS: dict[str, tuple[Any, ...]] = {
    "fsync": ("WAITAOF", 1, 0, ACK_TIMEOUT_MS),
    "replica": ("WAIT", 1, ACK_TIMEOUT_MS),
}


class NotAcknowledged(StoreUnavailable):
    """Raised when the store has a batch, but disk or replica have not confirmed it in time: it is sent again."""


def command(acks: Acks) -> tuple[Any, ...] | None:
    """The command that follows a batch on its connection, None if its answer is enough."""
    return _COMMANDS.get(acks)


def check(acks: Acks, answer: Any) -> None:
    """Raise `NotAcknowledged` or `AcksUnavailable` unless `answer` confirms the batch."""
    if isinstance(answer, redis.ResponseError):
        text = str(answer).lower()
        if "unknown command" in text or "appendonly is disabled" in text:
            raise AcksUnavailable(
                f"acks={acks!r} needs a store with WAITAOF (Redis 7.2, Valkey) and appendonly yes, "
                f"but this one says: {answer}"
            ) from answer
        raise answer
    if isinstance(answer, Exception):
        raise answer
    if acks == "fsync" and int(answer[0]) < 1:
        raise NotAcknowledged("the store has not written the batch to its disk in time")
    if acks == "replica" and int(answer) < 1:
        raise NotAcknowledged("no replica has confirmed the batch in time")
