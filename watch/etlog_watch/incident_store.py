"""What is kept of the incidents of a log: read, and changed by the one watcher that tells people of it.

Incidents and the messages about them change together, in one step of the store. So whatever happens to a watcher, each
message is there before it is sent, and until it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import msgspec
from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.scripts import Script
from msgspec import Meta

from etlog_watch.incidents import Incident, Moment
from etlog_watch.message import Happened, ProblemTold

SCRIPT = Script.load("etlog_events:contract.lua", "etlog_watch:incidents.lua")

#: Seconds for which a watcher holds its place: another one takes over after that.
HELD = 12

T = TypeVar("T")


class Waiting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message that waits to be sent to the target with this key; `id` stays the same whenever it is sent again.

    `attempts` were made, the first at `created`; the next is due at `next`.
    """

    id: str
    target: str
    happened: Happened
    created: Moment
    next: Moment
    problems: Annotated[tuple[ProblemTold, ...], Meta(min_length=1)]
    attempts: int = 0


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """That a target wants no more messages, since `at`."""

    at: Moment
    reason: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept at a `revision`: incidents and messages by id, and targets that want no more by key."""

    revision: str = ""
    incidents: Mapping[str, Incident] = field(default_factory=dict)
    messages: Mapping[str, Waiting] = field(default_factory=dict)
    ended: Mapping[str, Ended] = field(default_factory=dict)

    def changes_to(self, other: "Kept") -> list[str | bytes]:
        """The fields that differ in another one, each with its text; that of one that is gone is empty."""
        found: list[str | bytes] = []
        for kind, before, after in (
            ("incident", self.incidents, other.incidents),
            ("message", self.messages, other.messages),
            ("target", self.ended, other.ended),
        ):
            for name in before.keys() - after.keys():
                found += (f"{kind}:{name}", "")
            for name, value in after.items():
                if before.get(name) != value:
                    found += (f"{kind}:{name}", msgspec.json.encode(value))
        return found


class IncidentStore:
    """The incidents of the log with these `keys`, for the watcher with the id `watcher`; `client` is of asyncio.

    Every call raises the driver's errors, and `OtherContract` for a log that is not understood.
    """

    def __init__(self, client: Any, keys: Keys, watcher: str) -> None:
        self._client = client
        self._keys = keys
        self._watcher = watcher
        self._kept = Kept()

    async def claim(self) -> Kept | None:
        """What is kept, once this watcher holds its place; None while another one does."""
        holder, revision, _ = await self._run("")
        if holder != self._watcher:
            self._kept = Kept()  # a count of changes may come again, with others behind it
            return None
        if self._kept.revision != revision:
            self._kept = await self.read()
        return self._kept

    async def change(self, kept: Kept) -> Kept | None:
        """Keep this instead of what was claimed. None where another watcher changed it, or holds the place now."""
        changes = self._kept.changes_to(kept)
        if not changes:
            return self._kept
        _, revision, is_made = await self._run(self._kept.revision, *changes)
        if not is_made:
            self._kept = Kept()
            return None
        self._kept = Kept(revision, kept.incidents, kept.messages, kept.ended)
        return self._kept

    async def leave(self) -> None:
        """Leave the place to another watcher."""
        await self._run("", milliseconds=0)

    async def read(self) -> Kept:
        """What is kept. What someone else wrote there is passed over."""
        fields: dict[bytes, bytes] = await self._client.hgetall(self._keys.incidents)
        revision = fields.get(b"revision", b"")
        return Kept(
            revision.decode() if revision.isdigit() else "0",  # as the script reads what someone else wrote
            _named(fields, b"incident:", Incident),
            _named(fields, b"message:", Waiting),
            _named(fields, b"target:", Ended),
        )

    async def _run(
        self, revision: str, *changes: str | bytes, milliseconds: int | None = None
    ) -> tuple[str, str, bool]:
        with contract.translated(f"log {self._keys.name}", "etlog-watch"):
            holder, after, is_made = await SCRIPT.run_async(
                self._client,
                (self._keys.contract, self._keys.incidents),
                (self._watcher, int(HELD * 1000) if milliseconds is None else milliseconds, revision, *changes),
            )
        return holder.decode(errors="replace"), after.decode(errors="replace"), bool(is_made)


def _named(fields: Mapping[bytes, bytes], prefix: bytes, kind: type[T]) -> dict[str, T]:
    found = {}
    for name, text in fields.items():
        if name.startswith(prefix):
            try:
                value = msgspec.json.decode(text, type=kind)
                if getattr(value, "id", None) in {None, (spelled := name[len(prefix) :].decode())}:
                    found[spelled] = value
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
    return found
