"""Membership: the processes that are alive and apply the same logs, by the store's clock."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from etlog_events import contract
from etlog_events.keys import CONSUMERS, CONSUMERS_CONTRACT
from etlog_events.scripts import Script

from etlog_consumer.lease import DURATION

SCRIPT = Script.load("etlog_consumer:head.lua", "etlog_events:contract.lua", "etlog_consumer.fleet:membership.lua")


class Membership:
    """The membership of the process `name` among those that apply `logs`.

    Processes with other settings share among themselves: while settings change, every log has a process for sure, and
    the lease decides between two.
    """

    def __init__(self, client: Any, name: str, logs: Iterable[str]) -> None:
        self._client = client
        self._group = blake2b(",".join(sorted(logs)).encode(), digest_size=4).hexdigest()
        self._began = False
        self.name = f"{name}/{self._group}"

    def renew(self) -> tuple[list[str], bool]:
        """Count as alive for as long as a lease lasts.

        Returns the present members, this one among them, and whether it was forgotten meanwhile, as all are when the
        store is away for long or is emptied. Raises the driver's errors and `OtherContract`.
        """
        came, *names = self._tell(DURATION)
        forgotten = bool(came) and self._began
        self._began = True
        return [name for name in map(bytes.decode, names) if name.endswith(f"/{self._group}")], forgotten

    def leave(self) -> None:
        """Let the others take over at once. Raises what `renew` raises."""
        self._tell(0)

    def _tell(self, seconds: float) -> Any:
        with contract.translated("the set of consumer processes", "etlog-consumer"):
            return SCRIPT.run(self._client, (CONSUMERS_CONTRACT, CONSUMERS), [self.name, int(seconds * 1000)])
