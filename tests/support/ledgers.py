"""What the store holds of the ledger of a log, as a test looks at it, and what of it does not add up."""

import json
from collections.abc import Iterator

from etlog_events.keys import Keys
from support.recomputed import PREFIXES, Ledger, events_in
from support.stream import Client, counters


def ledger(client: Client, keys: Keys) -> Ledger:
    """All rows: category -> interval -> cell -> what is known of it."""
    return {
        category: {name.decode(): json.loads(text) for name, text in client.hgetall(keys.sets(category)).items()}
        for category in PREFIXES
    }


def unrowed(client: Client, keys: Keys) -> dict[str, int]:
    """How many events of each kind are in no row; kinds of which all are in one are left out."""
    found = {kind.decode(): int(number) for kind, number in client.hgetall(keys.unrowed).items()}
    return {kind: number for kind, number in found.items() if number}


def faults(client: Client, keys: Keys) -> list[str]:
    """What does not add up: for each kind, counter = sum of `n` + unrowed; and each set is listed as changed.

    Only of a log that stands still: the keys are read one after another.
    """
    return [*_wrong_numbers(client, keys), *_wrong_changes(client, keys)]


def _wrong_numbers(client: Client, keys: Keys) -> Iterator[str]:
    counted, in_rows, in_none = counters(client, keys), events_in(ledger(client, keys)), unrowed(client, keys)
    for kind in sorted({*counted, *in_rows, *in_none}):
        counter, rows, others = (numbers.get(kind, 0) for numbers in (counted, in_rows, in_none))
        if counter != rows + others:
            yield f"{kind}: {counter} were counted, {rows} are in rows and {others} in none"


def _wrong_changes(client: Client, keys: Keys) -> Iterator[str]:
    for category in PREFIXES:
        alone = set(client.zrange(keys.changes(category), 0, -1)) ^ set(client.hkeys(keys.sets(category)))
        if alone:
            yield f"{len(alone)} fields are in only one of sets and changes of {category}, such as {min(alone)!r}"
