"""Who was told of the problems of one log: read again only when watchers changed it."""

from collections.abc import Sequence
from typing import Any

from etlog_events.keys import Keys

from etlog_ledger.reading.connection import Command, Connection
from etlog_ledger.told import REVISION, Told, incidents_of


class ToldReader:
    """Reads what watchers keep of the log with these `keys` over a connection that others may use in between."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._key = keys.incidents
        self._version: tuple[object, ...] | None = None
        self._told: Told | None = None
        #: What tells whether anything changed. The store may refuse each: the answer is then None.
        self.questions: tuple[Command, ...] = (("HGET", self._key, REVISION), ("HLEN", self._key), ("GET", keys.id))

    async def read(self, made: int, answers: Sequence[Any]) -> Told | None:
        """Who was told; None where no watcher keeps anything, or the store refuses to say. The same object as before
        where nothing changed since, as for marks. Raises the driver's errors, but no refusal.

        What else is in the hash is left out. A watcher that only holds its place changes nothing.
        """
        version = (made, *answers)
        if version != self._version:
            _, length, _ = answers
            fields = (await self._connection.ask(optional=(("HGETALL", self._key),)))[0] if length else None
            self._version = version
            incidents = None if fields is None else incidents_of(fields)
            if incidents is None:
                self._told = None
            elif self._told is None or self._told.incidents != incidents:
                self._told = Told(incidents)
        return self._told
