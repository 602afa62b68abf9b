"""A target: whom a `[[notify]]` of the configuration names, and what it is told."""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from etlog_events.config import Notify

from etlog_watch.faults import Fault
from etlog_watch.incidents import Policy
from etlog_watch.sender import Sender


@dataclass(frozen=True, slots=True)
class Target:
    """The target of the `notify` table with this index; quiet hours are those of `zone`."""

    index: int
    notify: Notify
    sender: Sender
    zone: tzinfo

    @property
    def key(self) -> str:
        """What it is known by in the store."""
        return self.notify.key

    @property
    def shown(self) -> str:
        """What may be shown of it: `https://hooks.example.com#0`."""
        return f"{self.notify.shown}#{self.index}"

    def policy(self, log: str | None) -> Policy:
        """What it is told of a log; None for what concerns no single one."""

        def wants(fault: Fault) -> bool:
            return self.notify.wants(fault.state, log, fault.category)

        def is_quiet(now: datetime) -> bool:
            return self.notify.is_quiet(now.astimezone(self.zone))

        return Policy(self.key, wants, self.notify.remind, is_quiet)
