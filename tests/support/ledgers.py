"""What the store holds of the ledger of a log, as a test looks at it, and what of it does not add up."""

from collections.abc import Iterator

from etlog_events.keys import Keys
from support.recomputed import PREFIXES, Ledger, events_in
from support.stream import Client, counters, rows
from support.stream import unrowed as all_unrowed


def ledger(client: Client, keys: Keys) -> Ledger:
    """All rows: category -> interval -> cell -> what is known of it."""
    return {category: rows(client, keys, category) for category in PREFIXES}


def unrowed(client: Client, keys: Keys) -> dict[str, int]:
    """How many events of each kind are in no row; kinds of which all are in one are left out."""
    return {kind: number for kind, number in all_unrowed(client, keys).items() if number}


def faults(client: Client, keys: Keys) -> list[str]:
    """What does not add up: for each kind, counter = sum of `n` + unrowed; and each set is listed as changed.

    Only of a log that stands still: the keys are read one after another.
    """
    return [*_wrong_numbers(client, keys), *_wrong_changes(client, keys)]


def _wrong_numbers(client: Client, keys: Keys) -> Iterator[str]:
    counted, in_rows, in_none = counters(client, keys), events_in(ledger(client, keys)), unrowed(client, keys)
    for kind in sorted({*counted, *in_rows, *in_none}):
        counter, with_row, without = (numbers.get(kind, 0) for numbers in (counted, in_rows, in_none))
        if counter != with_row + without:
            yield f"{kind}: {counter} were counted, {with_row} are in rows and {without} in none"


def _wrong_changes(client: Client, keys: Keys) -> Iterator[str]:
    for category in PREFIXES:
        alone = set(client.zrange(keys.changes(category), 0, -1)) ^ set(client.hkeys(keys.sets(category)))
        if alone:
            yield f"{len(alone)} fields are in only one of sets and changes of {category}, such as {min(alone)!r}"
