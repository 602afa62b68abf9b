"""The version of the contract that a log follows: its keys, their types, and what the scripts may do to them.

The first publish, or the first batch applied, notes the version in the same step. A part never touches a log that
follows another one: every script that writes checks it, and what only reads reads the version along. The same holds for
the set of consumer processes, whose version the first of them notes.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import ResponseError

from etlog_events.errors import OtherContract

#: The version of this release. The scripts hold the same number.
VERSION = 2

#: What `etlog upgrade` holds in the place of a version while it works: no part knows it.
UPGRADING = b"upgrading"

#: What a script says that refuses, after what the store may put before the error of a function.
_REFUSAL = re.compile(r"(?:.*\b)?CONTRACT (\S+) is not", re.DOTALL)


def check(held: bytes | None, log: str, part: str) -> None:
    """Raise `OtherContract` unless the store holds this release's version, or None: nothing is written yet.

    `part` is a package, such as `etlog-api`.
    """
    if held is not None and held != b"%d" % VERSION:
        raise _other(held.decode(errors="backslashreplace"), f"log {log}", part)


@contextmanager
def translated(subject: str, part: str) -> Iterator[None]:
    """Turn the refusal of a script inside into `OtherContract`; `subject` is what it works on: `log nightly`."""
    try:
        yield
    except ResponseError as e:
        found = _REFUSAL.match(str(e))
        if found is None:
            raise
        raise _other(found[1], subject, part) from e


def _other(held: str, subject: str, part: str) -> OtherContract:
    if held == UPGRADING.decode():
        return OtherContract(f"{subject} is being upgraded; if 'etlog upgrade' was interrupted, run it again")
    if held.isdigit() and int(held) < VERSION:
        return OtherContract(
            f"{subject} follows contract {held}, but this {part} requires {VERSION}; stop all its parts and run "
            "'etlog upgrade'"
        )
    return OtherContract(f"{subject} follows contract {held}, but this {part} supports {VERSION}; upgrade it")
