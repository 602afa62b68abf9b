"""A message: what a target is told at once, of one or more problems."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

#: What happened to the problems of a message.
Happened = Literal["opened", "changed", "resolved", "expired", "reminder"]


class ProblemTold(msgspec.Struct, frozen=True, kw_only=True):
    """A problem as a message tells it.

    `id` is that of the incident, and stays the same from `opened` to `resolved`. What is wrong with the log itself has
    no category, cadence, stages, windows or number of sets; a store that is away concerns no single log. `from_` and
    `to` are the ends of its windows; `since` is when it began. `text` says it in a sentence; `url` is the page of the
    log, None where no address is configured.
    """

    id: str
    log: str | None
    category: str | None = None
    every: str | None = None
    stages: tuple[str, ...] = ()
    state: str
    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    sets: int | None = None
    since: str
    error: str | None = None
    text: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message with an `id` that stays the same whenever it is sent again; `timestamp` is RFC 3339, in UTC."""

    id: str
    happened: Happened
    timestamp: str
    problems: Sequence[ProblemTold]

    @property
    def type(self) -> str:
        """The type of the event, as Standard Webhooks name it."""
        return f"etlog.problem.{self.happened}"

    @property
    def body(self) -> bytes:
        """The JSON that a webhook gets, always the same bytes for the same message."""
        content: dict[str, Any] = {
            "type": self.type,
            "timestamp": self.timestamp,
            "data": {"problems": self.problems},
        }
        return msgspec.json.encode(content)
