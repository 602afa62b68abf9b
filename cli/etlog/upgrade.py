"""Upgrading: a log that an earlier release wrote, at contract 1, becomes one of contract 2 while all parts are stopped.

The records of its producers are converted beside the old ones, slice by slice, and take their place in one step. From
the first step to that one the log is at a contract that no part knows. Whenever this ends too soon, it is run again.
The ledger is built behind that step, from the lists: should this end too soon, a consumer does it when it starts.
"""

import os
import re
from dataclasses import dataclass
from typing import Any

from etlog_consumer import loading, rebuild
from etlog_events import contract, scripts
from etlog_events.keys import CONSUMERS_CONTRACT, Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Script
from etlog_events.validation import NO_WINDOW
from redis.exceptions import ResponseError

from etlog.connection import one_connection
from etlog.errors import FAILED, CommandFailed
from etlog.in_flight import InFlight, in_flight
from etlog.progress import Advance, unseen

SCRIPT = Script.load("etlog:upgrade.lua")

#: Fields of a hash that one step converts: a few milliseconds of the store's time.
SLICE = 500

#: Attempts to build the ledger of a log that another process changes meanwhile.
ATTEMPTS = 5

#: The parts that write to a log, as their connections are named, and those that only read it.
_WRITING = {"etlog-producer": "producer", "etlog-consumer": "consumer", "etlog-spool": "etlog spool flush"}
_READING = {"etlog-api": "API"}


@dataclass(frozen=True, slots=True)
class Converted:
    """What was done: so many producers have a record in the converted log, and this waits in its stream."""

    producers: int
    waiting: InFlight


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the ledger of a log holds: rows of so many sets; so many events are in none. `is_new` tells whether that was
    made, or put right, just now."""

    sets: int
    unrowed: int
    is_new: bool


def needs_upgrade(client: Any, keys: Keys) -> bool:
    """Whether the log is at contract 1, or its upgrade was interrupted.

    Raises the driver's errors, `OtherContract` for one that is newer than this release, and `CommandFailed` where
    there are data without a contract.
    """
    version = client.get(keys.contract)
    if version in {b"1", contract.UPGRADING}:
        return True
    contract.check(version, keys.name, "etlog")
    # Entries that nobody has applied are no reason: they are the same in both contracts.
    if version is None and client.exists(keys.stats, keys.producers):
        raise CommandFailed(
            f"log {keys.name} does not say which contract it follows; if an earlier release wrote it, "
            f"set {keys.contract} to 1 and run this again",
            FAILED,
        )
    return False


def refuse_running(client: Any) -> list[str]:
    """The addresses of APIs that are connected to the store: they must be restarted afterwards.

    Raises `CommandFailed` where parts that write to logs are connected. A store that does not tell who is connected is
    no obstacle.
    """
    try:
        [listed] = scripts.run(client, ("CLIENT", "LIST"))
    except ResponseError:
        return []
    found = re.findall(r"\baddr=(\S+) .*?\bname=(\S*)", listed.decode(errors="backslashreplace"))
    writing = [f"{_WRITING[name]} at {address}" for address, name in found if name in _WRITING]
    if writing:
        more = f" and {len(writing) - 3} more" if len(writing) > 3 else ""
        raise CommandFailed(
            f"these parts are connected to the store: {', '.join(writing[:3])}{more}; stop all parts first", FAILED
        )
    return [address for address, name in found if name in _READING]


def upgrade_consumers(client: Any) -> None:
    """Let consumer processes of this release share logs: their set is short-lived, so all it holds is its contract."""
    if client.get(CONSUMERS_CONTRACT) == b"1":
        client.set(CONSUMERS_CONTRACT, contract.VERSION, xx=True)


def upgrade(client: Any, keys: Keys, advance: Advance = unseen) -> Converted | None:
    """Convert the log; `advance` is told how much is converted, of how much. Returns None where another process was
    faster.

    Raises the driver's errors, `OtherContract`, and `CommandFailed` while a consumer is active.
    """
    with one_connection(client) as connected:

        def step(name: str, *arguments: Any) -> list[Any] | None:
            """The answer to a step, None where the log is at contract 2 already."""
            rest: list[Any]
            answer, *rest = SCRIPT.run(connected, keys.upgrade, (name, *arguments))
            if answer == b"held":
                raise CommandFailed(
                    f"consumer {rest[0].decode()} is active on log {keys.name}; stop all parts first "
                    "(the lease of one that was killed lasts for 4 s)",
                    FAILED,
                )
            if answer == b"contract" and not rest[0]:
                raise CommandFailed(f"log {keys.name} was emptied meanwhile", FAILED)
            if answer == b"contract":
                contract.check(rest[0], keys.name, "etlog")
                return None
            return rest

        if (begun := step("begin")) is None:
            return None
        done = 0
        for source in ("producers", "retired"):
            scan = None
            while scan != b"0":
                if (sliced := step("convert", source, scan or 0, SLICE)) is None:
                    return None
                scan, fields = sliced
                done += fields
                advance(done, sum(begun))
        if (switched := step("switch", os.urandom(20).hex())) is None:
            return None
    producers, _ = switched
    return Converted(producers, in_flight(client, keys, client.get(keys.cursor) or b"0-0"))


def build_ledger(client: Any, keys: Keys, kinds: Kinds, *, keep: int) -> Ledger | None:
    """Build the ledger of a log at contract 2 from its lists, the `keep` newest sets of each length of window, unless
    it is there. Returns None where that is left to a consumer, because one is at work.

    Whenever this ends too soon, the ledger adds up with the counters, but for categories that it has not come to.
    Raises the driver's errors and `OtherContract`.
    """
    rebuilds: list[rebuild.Rebuild] = []
    with one_connection(client) as connected, contract.translated(f"log {keys.name}", "etlog"):
        for _ in range(ATTEMPTS):
            held, cursor = scripts.run(connected, ("EXISTS", keys.lease), ("GET", keys.cursor))
            if held:
                break
            log = connected, keys, kinds
            loaded = loading.load(*log, keep=keep, cursor=cursor or b"0-0", tell=rebuilds.append)
            if loaded is not None:
                sets = sum(len(rows.names) - (NO_WINDOW in rows.names) for rows in loaded.rows.values())
                unrowed = sum(loaded.unrowed.get(name, 0) for name in kinds.by_name)
                return Ledger(sets, unrowed, is_new=bool(rebuilds))
    return None
