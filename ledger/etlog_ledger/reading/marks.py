"""The marks of one log in a replica: read again only when they changed."""

from collections.abc import Sequence
from typing import Any

from etlog_events.keys import Keys

from etlog_ledger.marks import REVISION, Mark, marks_of
from etlog_ledger.reading.connection import Command, Connection


class MarksReader:
    """Reads the marks of the log with these `keys` over a connection that others may use in between."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._key = keys.marks
        self._version: tuple[object, ...] | None = None
        self._marks: Sequence[Mark] = ()
        #: What tells whether anything changed.
        self.questions: tuple[Command, ...] = (("HGET", self._key, REVISION), ("HLEN", self._key), ("GET", keys.id))

    async def read(self, made: int, answers: Sequence[Any]) -> Sequence[Mark]:
        """The marks, oldest first; the same object as before where nothing changed since. Raises the driver's errors.

        Whether anything changed is told by the `answers` to `questions`; `made` is that of the connection they came by.

        What else is in the hash is left out. Changes made by hand, which do not count as a revision, are seen by the
        number of fields, or over the next connection.
        """
        version = (made, *answers)
        if version != self._version:
            [fields] = await self._connection.ask(("HGETALL", self._key))
            marks = marks_of(fields)
            self._version, self._marks = version, self._marks if marks == self._marks else marks
        return self._marks
