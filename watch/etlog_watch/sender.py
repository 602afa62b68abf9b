"""Sending: what a target makes of a message."""

from dataclasses import dataclass
from typing import Literal, Protocol

from etlog_watch.message import Message


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt to send a message ended.

    `later` means that it is worth another attempt, `after` so many seconds at the earliest where the target says so;
    `gone` that the target wants no more messages. `reason` says why in a few words, without any secret.
    """

    kind: Literal["sent", "later", "gone"]
    reason: str = ""
    after: float | None = None


SENT = Outcome("sent")


class Sender(Protocol):
    """Sends messages to one target."""

    async def send(self, message: Message) -> Outcome:
        """Make one attempt. Never raises for what the target or the network does, and ends within half a minute."""

    async def close(self) -> None:
        """Leave the target."""
