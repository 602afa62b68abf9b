"""The version of the contract that a log follows: its keys, their types, and what the scripts may do to them.

The first publish, or the first batch applied, notes the version in the same step. A part never touches a log that
follows a newer one than it knows: every script that writes checks it, and what only reads reads the version along.
"""

import re

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
        raise _newer(held.decode(errors="backslashreplace"), log, part)


def refusal(error: Exception, log: str, part: str) -> NewerContract | None:
    """What `error` means, if it is the answer of a script that does not know the log's version."""
    found = _REFUSAL.match(str(error))
    return _newer(found[1], log, part) if found else None


def _newer(held: str, log: str, part: str) -> NewerContract:
    return NewerContract(f"log {log} follows contract {held}, and this {part} knows none above {VERSION}; upgrade it")
