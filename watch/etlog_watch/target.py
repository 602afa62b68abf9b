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
            notify = self.notify
            of_category = notify.category is None or notify.category == fault.category
            return fault.state in notify.on and of_category and (log is None or notify.log in {None, log})

        def is_quiet(now: datetime) -> bool:
            local = now.astimezone(self.zone)
            return any(local in hours for hours in self.notify.quiet)

        return Policy(self.key, wants, self.notify.remind, is_quiet)
