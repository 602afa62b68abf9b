"""Publishing a batch: one producer's events, appended exactly once however often they are sent.

A batch counts as delivered once the store has answered, once it is on the store's disk, or once a replica has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from etlog_events import contract, scripts
from etlog_events.keys import Keys
from redis.exceptions import ResponseError

from etlog_producer.errors import AcksUnavailable, NotAcknowledged

#: When a batch counts as delivered: the store answered, it is on the store's disk, a replica has it.
Acks = Literal["memory", "fsync", "replica"]

PUBLISH = scripts.Script.load("etlog_producer:publish.lua")

#: Events in one call of the script: the store does nothing else meanwhile. A longer batch travels as several calls.
CALL_EVENTS = 500

#: Milliseconds to wait for the disk or the replica. A store that syncs every second needs up to two; less than the
#: time after which a silent connection is given up.
ACK_TIMEOUT_MS = 3000

#: What follows a batch on its connection, so that the answer says whether the batch is confirmed.
_CONFIRM: dict[Acks, scripts.Command] = {
    "fsync": ("WAITAOF", 1, 0, ACK_TIMEOUT_MS),
    "replica": ("WAIT", 1, ACK_TIMEOUT_MS),
}


@dataclass(frozen=True, slots=True)
class Published:
    """The answer: `held` is the producer's last number in the store; `gap` says that the batch was refused because it
    does not follow on from it."""

    held: int
    gap: bool


class Publisher:
    """Publishes to one log through a client of the store; `acks` says when a batch counts as delivered."""

    def __init__(self, client: Any, keys: Keys, acks: Acks = "memory") -> None:
        self._client = client
        self._subject = f"log {keys.name}"
        self._keys = (keys.events, keys.producers, keys.contract, keys.retired)
        self._acks = acks
        self._confirm = _CONFIRM.get(acks)

    def __call__(self, producer: str, first: int, events: Sequence[bytes], *, skip: bool = False) -> Published:
        """Send `events`, numbered from `first`; without any, only ask what the store holds. With `skip`, a gap before
        `first` is given up instead of refused.

        Raises the driver's errors, `NotAcknowledged`, `AcksUnavailable` and `NewerContract`; after any of them the
        same call may be made again.
        """
        calls = []
        for start in range(0, max(len(events), 1), CALL_EVENTS):
            mode = "skip" if skip and start == 0 else "follow"
            part = events[start : start + CALL_EVENTS]
            calls.append(PUBLISH.call(self._keys, (producer, first + start, mode, *part)))
        confirm = (self._confirm,) if self._confirm and events else ()
        try:
            with contract.translated(self._subject, "etlog-producer"):
                answers = scripts.run(self._client, *calls, *confirm)
        except ResponseError as e:
            if _lacks_waitaof(e):
                raise AcksUnavailable(
                    f"acks={self._acks!r} requires a store with WAITAOF (Redis 7.2 or Valkey) and appendonly yes, "
                    f"but this one answered: {e}"
                ) from e
            raise
        outcome, held = answers[len(calls) - 1]  # of the last call: behind one that leaves a gap, each leaves one
        published = Published(held=int(held), gap=outcome == b"GAP")
        if confirm and not published.gap:
            self._check_confirmed(answers[-1])
        return published

    def disconnect(self) -> None:
        """Break the connections. A call that another thread is making fails, and its answer reaches no later call."""
        self._client.connection_pool.disconnect()

    def _check_confirmed(self, answer: Any) -> None:
        if self._acks == "fsync" and int(answer[0]) < 1:
            raise NotAcknowledged("the store did not write the batch to its disk in time")
        if self._acks == "replica" and int(answer) < 1:
            raise NotAcknowledged("no replica confirmed the batch in time")


def _lacks_waitaof(error: ResponseError) -> bool:
    text = str(error).lower()
    return "waitaof" in text and ("unknown command" in text or "appendonly is disabled" in text)
