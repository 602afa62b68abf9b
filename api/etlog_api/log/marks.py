"""The marks of one log in a replica: read again only when they changed."""

from collections.abc import Mapping, Sequence
from operator import attrgetter

import msgspec
from etlog_events.keys import Keys
from etlog_ledger.marks import Mark

from etlog_api.log.connection import Connection

#: The field that counts the changes of all others.
REVISION = "revision"

_decode = msgspec.json.Decoder(Mark).decode


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
            marks = decode_marks(fields)
            self._version, self._marks = version, self._marks if marks == self._marks else marks
        return self._marks


def decode_marks(fields: Mapping[bytes, bytes]) -> tuple[Mark, ...]:
    """The marks among the fields of the hash, oldest first: a store need not keep an order."""
    marks = []
    for name, text in fields.items():
        if name != REVISION.encode():
            try:
                marks.append(_decode(text))
            except (msgspec.MsgspecError, ValueError, RecursionError):
                continue
    return tuple(sorted(marks, key=attrgetter("at", "id")))
