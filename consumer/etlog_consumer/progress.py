"""How far a log is applied, as the store tells it: where the next batch begins and what it must follow on from."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from etlog_events.keys import GROUP, Keys
from etlog_events.sequence import numbers_of

MEND = files(__package__).joinpath("repair.lua").read_text()

#: The cursor of a log to which nothing was applied yet.
START = b"0-0"


@dataclass(slots=True)
class Progress:
    """`cursor` is the id of the last applied entry; `entries_read` counts the stream's entries up to it, None where
    unknown; `numbers` holds the last applied sequence number of each producer."""

    cursor: bytes
    entries_read: int | None
    numbers: dict[bytes, int]


def load(client: Any, keys: Keys) -> tuple[Progress, Sequence[str]]:
    """The progress of the log, and what had to be mended before, as `mend.lua` names it.

    Not in one transaction, for a full store refuses that: if somebody applies a batch between the two reads, ours will
    be refused, and we start over.
    """
    with client.pipeline(transaction=False) as pipe:
        pipe.eval(MEND, 3, keys.events, keys.cursor, keys.contract, GROUP)
        pipe.hgetall(keys.producers)
        (cursor, entries_read, *findings), producers = pipe.execute()
    found = Progress(
        cursor=cursor,
        entries_read=int(entries_read) if entries_read else None,
        numbers=numbers_of(producers),
    )
    return found, [finding.decode() for finding in findings]
