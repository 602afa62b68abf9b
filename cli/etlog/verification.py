"""Verification: whether every event that was published is accounted for.

For each producer, published = applied + dead + lost + in flight. Publishing records the first, the consumer records
the next three, and those in flight are counted here, in the stream after the cursor. The two sides are recorded
independently, so a missing entry shows.

The sums are checked, too: the stats must hold every number that the producers' records account for, and the counters
every event in the stats.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.sequence import number_of


@dataclass(frozen=True, slots=True)
class Account:
    """The account of one producer, or the sum of several. `in_flight` is what the stream holds after the cursor."""

    producer: str
    published: int
    applied: int
    dead: int
    lost: int
    in_flight: int

    @property
    def missing(self) -> int:
        """Events that are nowhere; negative where more are accounted for than were published."""
        return self.published - self.applied - self.dead - self.lost - self.in_flight


@dataclass(frozen=True, slots=True)
class Verification:
    """The accounts of all producers, their `total`, and in `faults` a sentence for each thing that does not hold.

    Producers that have long been idle share the account `retired`, and later `pruned`. `unnumbered` counts applied and
    dead entries of clients that do not number them, `unnumbered_in_flight` those that wait. `counted` tells whether
    the entries in flight were counted in the stream.
    """

    cursor: str
    producers: list[Account]
    retired: Account
    pruned: Account
    unnumbered: int
    unnumbered_in_flight: int
    duplicates: int
    counted: bool
    faults: list[str] = field(default_factory=list)

    @property
    def total(self) -> Account:
        """The sum of all accounts."""
        accounts = [*self.producers, self.retired, self.pruned]
        names = ("published", "applied", "dead", "lost", "in_flight")
        return Account("total", *(sum(getattr(account, name) for account in accounts) for name in names))

    def json(self) -> dict[str, Any]:
        """As a value for JSON."""
        return {"holds": not self.faults, "total": asdict(self.total)} | asdict(self)


#: Attempts to read while an active consumer trims what is being counted.
READINGS = 5


def verify(client: Any, keys: Keys) -> Verification:
    """Read the log and check it. Raises the driver's errors and `OtherContract`."""
    for _ in range(READINGS):
        found, stable = _reading(client, keys)
        if stable or not found.faults:
            break
    return found


def _reading(client: Any, keys: Keys) -> tuple[Verification, bool]:
    """One verification, and whether the log stood still meanwhile."""
    with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.contract)
        pipe.get(keys.cursor)
        pipe.hgetall(keys.producers)
        pipe.hvals(keys.retired)
        pipe.hgetall(keys.stats)
        pipe.hgetall(keys.counters)
        pipe.xrevrange(keys.events, count=1)
        version, cursor, fields, retired, stats, counters, newest = pipe.execute()
    contract.check(version, keys.name, "etlog")
    cursor = cursor or b"0-0"
    faults = [
        f"{name.decode(errors='backslashreplace')} holds no number in {key}"
        for key, found in ((keys.producers, fields), (keys.stats, stats), (keys.counters, counters))
        for name, number in found.items()
        if not number.isdigit()
    ]
    stats = {name.decode(errors="backslashreplace"): _number(number) for name, number in stats.items()}
    records: dict[bytes, dict[str, int]] = {}
    for name, number in fields.items():
        producer, _, what = name.rpartition(b":")
        records.setdefault(producer, {})[what.decode(errors="backslashreplace")] = _number(number)
    idle = _in_sum("(retired)", [[_number(number) for number in record.split()] for record in retired])

    waiting, unnumbered, counted = _in_flight(client, keys, cursor, newest[0][0] if newest else cursor, records)
    accounts = [_account(producer, record, waiting, counted) for producer, record in sorted(records.items())]
    faults += [_fault(account) for account in accounts if account.missing]
    pruned = _in_sum("(pruned)", [[stats.get(name, 0) for name in ("pruned", "pruned_dead", "pruned_lost")]])
    sums = {name: _number(number) for name, number in counters.items()}
    faults += _faults_of_sums(records, stats, sums, (idle, pruned))
    found = Verification(
        cursor=cursor.decode(),
        producers=accounts,
        retired=idle,
        pruned=pruned,
        unnumbered=stats.get("unnumbered", 0),
        unnumbered_in_flight=unnumbered,
        duplicates=stats.get("duplicate", 0),
        counted=counted,
        faults=faults,
    )
    return found, client.get(keys.cursor) in {cursor, None}


#: Entries after the cursor that are counted one by one; beyond that the numbers are trusted.
MOST_COUNTED = 100_000

#: Entries read at once.
CHUNK = 1000


def _in_flight(
    client: Any, keys: Keys, cursor: bytes, last: bytes, records: dict[bytes, dict[str, int]]
) -> tuple[dict[bytes, int], int, bool]:
    """In the stream after `cursor`: per producer, how many numbers above the last applied one; how many entries have
    no number; and whether all entries were counted."""
    highest = {producer: record.get("applied", 0) for producer, record in records.items()}
    found: dict[bytes, int] = {}
    unnumbered = seen = 0
    after = cursor
    while seen < MOST_COUNTED:
        chunk = client.xrange(keys.events, b"(" + after, last, count=CHUNK)
        if not chunk:
            return found, unnumbered, True
        for after, entry in chunk:  # noqa: B007 - the last one is where the next chunk begins
            producer, seq = entry.get(b"producer", b""), entry.get(b"seq", b"")
            number = number_of(seq)
            if producer in records and number:
                if number > highest[producer]:
                    highest[producer] = number
                    found[producer] = found.get(producer, 0) + 1
            else:
                unnumbered += 1
        seen += len(chunk)
    return found, unnumbered, False


def _account(producer: bytes, record: dict[str, int], waiting: dict[bytes, int], counted: bool) -> Account:
    applied, dead, lost = (record.get(what, 0) for what in ("applied", "dead", "lost"))
    in_flight = waiting.get(producer, 0)
    # A client that writes numbers by plain XADD records nowhere how many it has published.
    published = record["published"] if "published" in record else applied + in_flight
    if not counted and published >= applied:
        in_flight = published - applied
    return Account(producer.decode(errors="backslashreplace"), published, applied - dead - lost, dead, lost, in_flight)


def _in_sum(name: str, records: Sequence[Sequence[int]]) -> Account:
    """One account for records that each hold a last number, and how many of its numbers are dead and lost."""
    number, dead, lost = (sum(record[place] for record in records) for place in range(3))
    return Account(name, number, number - dead - lost, dead, lost, 0)


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() else 0


def _fault(account: Account) -> str:
    if account.missing > 0:
        return f"{account.missing} events of {account.producer} are neither applied nor counted nor in the stream"
    return f"{-account.missing} more events of {account.producer} are accounted for than it has published"


def _faults_of_sums(
    records: dict[bytes, dict[str, int]],
    stats: dict[str, int],
    counters: dict[bytes, int],
    others: Sequence[Account],
) -> list[str]:
    faults = []
    applied, dead, lost, unnumbered = (stats.get(name, 0) for name in ("applied", "dead", "lost", "unnumbered"))
    numbered = sum(record.get("applied", 0) for record in records.values()) + sum(other.published for other in others)
    if numbered + unnumbered != applied + dead + lost:
        faults.append(
            f"the producers' records account for {numbered} events and {unnumbered} came without a number, "
            f"but the stats say {applied} applied, {dead} dead and {lost} lost"
        )
    if sum(counters.values()) != applied:
        faults.append(f"the counters hold {sum(counters.values())} events, but the stats say {applied} applied")
    lost_of_all = sum(record.get("lost", 0) for record in records.values()) + sum(other.lost for other in others)
    if lost_of_all != lost:
        faults.append(f"the producers' records say {lost_of_all} lost, but the stats say {lost}")
    return faults
