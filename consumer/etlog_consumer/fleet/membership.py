"""Membership: the processes that are alive and apply the same logs, by the store's clock."""

from collections.abc import Iterable
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from etlog_events.keys import CONSUMERS

from etlog_consumer.lease import DURATION

SCRIPT = files(__package__).joinpath("membership.lua").read_text()


class Membership:
    """That of the process `name` among those that apply `logs`.

    Processes with other settings share among themselves: while settings change, every log has somebody for sure, and
    the lease decides between two.
    """

    def __init__(self, client: Any, name: str, logs: Iterable[str]) -> None:
        self._script = client.register_script(SCRIPT)
        self._group = blake2b(",".join(sorted(logs)).encode(), digest_size=4).hexdigest()
        self._began = False
        self.name = f"{name}/{self._group}"

    def renew(self) -> tuple[list[str], bool]:
        """Count as alive for as long as a lease lasts.

        Returns the present members, this one among them, and whether it was forgotten meanwhile, as all are when the
        store is away for long or is emptied.
        """
        came, *names = self._script(keys=[CONSUMERS], args=[self.name, int(DURATION * 1000)])
        forgotten = bool(came) and self._began
        self._began = True
        return [name for name in map(bytes.decode, names) if name.endswith(f"/{self._group}")], forgotten

    def leave(self) -> None:
        """Let the others take over at once."""
        self._script(keys=[CONSUMERS], args=[self.name, 0])
