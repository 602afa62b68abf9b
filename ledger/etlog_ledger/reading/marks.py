"""The marks of one log in a replica: read again only when they changed."""

from collections.abc import Sequence

from etlog_events.keys import Keys

from etlog_ledger.marks import REVISION, Mark, marks_of
from etlog_ledger.reading.connection import Connection


class MarksReader:
    """Reads the marks of the log with these `keys` over a connection that others may use in between."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._version: tuple[object, ...] | None = None
        self._marks: Sequence[Mark] = ()

    async def read(self) -> Sequence[Mark]:
        """The marks, oldest first; the same object as before where nothing changed. Raises the driver's errors.

        What else is in the hash is left out. Changes made by hand, which do not count as a revision, are seen by the
        number of fields, or over the next connection.
        """
        keys, ask = self._keys, self._connection.ask
        answers = await ask(("HGET", keys.marks, REVISION), ("HLEN", keys.marks), ("GET", keys.id))
        version = (self._connection.made, *answers)
        if version != self._version:
            [fields] = await ask(("HGETALL", keys.marks))
            marks = marks_of(fields)
            self._version, self._marks = version, self._marks if marks == self._marks else marks
        return self._marks
