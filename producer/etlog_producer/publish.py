"""Publishing a batch: one producer's events, appended exactly once however often they are sent.

A batch counts as delivered once the store has answered, once it is on the store's disk, or once a replica has it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from etlog_events import contract, publishing, scripts
from etlog_events.errors import StoreUnavailable
from etlog_events.keys import Keys
from etlog_events.publishing import CALL_EVENTS
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoPermissionError, ResponseError
from redis.exceptions import TimeoutError as TimedOut

from etlog_producer.errors import AcksUnavailable, IdTaken, NotAcknowledged, OtherLog

#: When a batch counts as delivered: the store answered, it is on the store's disk, a replica has it.
Acks = Literal["memory", "fsync", "replica"]

#: Milliseconds to wait for the disk or the replica. A store that syncs every second needs up to two; less than the
#: time after which a silent connection is given up.
ACK_TIMEOUT_MS = 3000

#: What follows a batch on its connection, so that the answer says whether the batch is confirmed.
_CONFIRM: dict[Acks, scripts.Command] = {
    "fsync": ("WAITAOF", 1, 0, ACK_TIMEOUT_MS),
    "replica": ("WAIT", 1, ACK_TIMEOUT_MS),
}

#: Errors after which no one knows whether the store has got a call. It may even get it later: the network goes on
#: sending what a connection had taken before it was given up.
UNANSWERED = (Disconnected, TimedOut, OSError)

#: Seconds for which such a call may still be under way: longer than a kernel tries for a connection that is closed.
#: Until then the store must not forget the producer, or a call that comes late would count again.
STRAY = 120.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who publishes: the id of a producer and the token of its process, "" where it is not to be checked."""

    producer: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """The answer: `held` is the producer's last number in the store; `gap` says that the batch was refused because it
    does not follow on from it; `log_id` is the id of the log, "" while nothing was ever written to it."""

    held: int
    gap: bool
    log_id: str


class Publisher:
    """Publishes to one log through a client of the store; `acks` says when a batch counts as delivered."""

    def __init__(self, client: Any, keys: Keys, acks: Acks = "memory") -> None:
        self._client = client
        self._subject = f"log {keys.name}"
        self._keys = keys.publishing
        self._acks = acks
        self._confirm = _CONFIRM.get(acks)
        self._script: scripts.Function | scripts.Script = publishing.FUNCTION

    def __call__(
        self, who: Identity, first: int, events: Sequence[bytes], *, skip: bool = False, log_id: str = ""
    ) -> Published:
        """Send `events`, numbered from `first`; without any, only ask what the store holds. With `skip`, a gap before
        `first` is given up instead of refused. With `log_id`, the log must have that id.

        Raises the driver's errors, `NotAcknowledged`, `AcksUnavailable`, `OtherContract`, `IdTaken`, `OtherLog`, and
        `StoreUnavailable` while the store lacks the function and this user may not load it. After any of them the same
        call may be made again.
        """
        calls = []
        for start in range(0, max(len(events), 1), CALL_EVENTS):
            mode = "skip" if skip and start == 0 else "follow"
            part = events[start : start + CALL_EVENTS]
            calls.append((who.producer, who.token, log_id, first + start, mode, *part))
        confirm = (self._confirm,) if self._confirm and events else ()
        answers = self._run(calls, *confirm)
        published = _published(answers[len(calls) - 1])  # the last: behind a call that leaves a gap, each leaves one
        if confirm and not published.gap:
            self._check_confirmed(answers[-1])
        return published

    def close(self, who: Identity, last: int, *, log_id: str = "") -> Published:
        """Say that `who` publishes nothing after the number `last`: the store need not remember it any longer.

        Raises what publishing raises.
        """
        return _published(self._run([(who.producer, who.token, log_id, last + 1, "close")])[0])

    def disconnect(self) -> None:
        """Break the connections. A call that another thread is making fails, and its answer reaches no later call."""
        self._client.connection_pool.disconnect()

    def _run(self, calls: Sequence[Sequence[Any]], *confirm: scripts.Command) -> list[Any]:
        try:
            with contract.translated(self._subject, "etlog-producer"):
                return scripts.run(self._client, *(self._script.call(self._keys, args) for args in calls), *confirm)
        except ResponseError as e:
            if isinstance(self._script, scripts.Function) and _has_no_functions(e):
                self._script = publishing.SCRIPT
                return self._run(calls, *confirm)
            raise self._understood(e) from e

    def _understood(self, error: ResponseError) -> Exception:
        """What `error` means, itself where it means nothing to a publisher."""
        text = str(error)
        if _lacks_waitaof(text):
            return AcksUnavailable(
                f"acks={self._acks!r} requires a store with WAITAOF (Redis 7.2 or Valkey) and appendonly yes, "
                f"but this one answered: {text}"
            )
        if found := re.search(r"\bTAKEN (\S+) is the id", text):
            return IdTaken(f"another process publishes under the id {found[1]}")
        if found := re.search(r"\bLOG (\S+) is here", text):
            return OtherLog("" if found[1] == "(none)" else found[1])
        if isinstance(error, NoPermissionError) and "function|load" in text:
            return StoreUnavailable(
                f"the store lacks the function {publishing.FUNCTION.name}, and this user may not load it; start a "
                "consumer, which does"
            )
        return error

    def _check_confirmed(self, answer: Any) -> None:
        if self._acks == "fsync" and int(answer[0]) < 1:
            raise NotAcknowledged("the store did not write the batch to its disk in time")
        if self._acks == "replica" and int(answer) < 1:
            raise NotAcknowledged("no replica confirmed the batch in time")


def _published(answer: Sequence[Any]) -> Published:
    outcome, held, log_id = answer
    return Published(held=int(held), gap=outcome == b"GAP", log_id=log_id.decode())


def _has_no_functions(error: ResponseError) -> bool:
    text = str(error).lower()
    return "unknown command" in text and ("fcall" in text or "function" in text)


def _lacks_waitaof(text: str) -> bool:
    text = text.lower()
    return "waitaof" in text and ("unknown command" in text or "appendonly is disabled" in text)
