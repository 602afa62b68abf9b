"""The version of the contract that a log follows: its keys, their types, and what the scripts may do to them.

The first publish, or the first batch applied, notes the version in the same step. A part never touches a log that
follows a newer one than it knows: every script that writes checks it, and what only reads reads the version along.
The same holds for the set of consumer processes, whose version the first of them notes.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ResponseError

from etlog_events.errors import NewerContract

#: The newest version that this release knows. The scripts hold the same number.
VERSION = 1

#: What a script says that refuses, after what the driver may put before it.
_REFUSAL = re.compile(r"(?:.*caused error: )?CONTRACT (\S+)", re.DOTALL)


def check(held: bytes | None, log: str, part: str) -> None:
    """Raise `NewerContract` unless `part` knows the version `held` that the store holds; None: nothing is written yet.

    `part` is a package to upgrade, such as `etlog-api`.
    """
    if held is not None and not (held.isdigit() and int(held) <= VERSION):
        raise _newer(held.decode(errors="backslashreplace"), f"log {log}", part)


@contextmanager
def translated(subject: str, part: str) -> Iterator[None]:
    """Turn the refusal of a script inside into `NewerContract`; `subject` is what it works on: `log nightly`."""
    try:
        yield
    except ResponseError as e:
        found = _REFUSAL.match(str(e))
        if found is None:
            raise
        raise _newer(found[1], subject, part) from e


def _newer(held: str, subject: str, part: str) -> NewerContract:
    return NewerContract(f"{subject} follows contract {held}, but this {part} supports at most {VERSION}; upgrade it")
