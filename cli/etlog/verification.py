"""Verification: whether every event that was published is accounted for.

For each producer, published = applied + dead + lost + in flight. Publishing records the first, the consumer records
the next three, and those in flight are counted here, in the stream after the cursor. The two sides are recorded
independently, so a missing event shows.

The sums are checked, too: the stats must hold every number that the producers' records account for, the counters every
event in the stats, and the ledger every event in the counters, see `etlog.ledger_check`.

A log may have a million producers. The records of few are read in one step, so that what is compared belongs together.
Those of many are read slice by slice: each is right in itself, but their sums mean something only if nothing happened
meanwhile. The memory that this takes does not grow with them.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS, Kinds
from etlog_events.sequence import Record

from etlog import ledger_check
from etlog.in_flight import InFlight, in_flight
from etlog.ledger_check import LedgerCheck
from etlog.progress import Advance, unseen
from etlog.records import SUMS, Records

#: Producers whose records are read in one step: a few milliseconds of the store's time.
AT_ONCE = 5_000

#: Records in one slice.
SLICE = 1_000

#: Slices after which a repeated reading looks whether the log still stands still.
LOOK_EVERY = 20

#: Attempts to read the records of a log that stands still, and to count what no consumer trims meanwhile.
READINGS = 5

#: Producers whose accounts are told: those with something to tell, then those seen last.
MOST_TOLD = 1_000


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

    @property
    def is_notable(self) -> bool:
        """Whether there is more to tell than that all is applied."""
        return self.applied != self.published


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found, and in `faults` a sentence for each thing that does not hold.

    `producers` are the accounts of at most `MOST_TOLD` of `producers_total`, the `producers_notable` with something to
    tell first. `ended` sums up those whose record is gone, `total` all. `unnumbered` counts applied and dead events
    that came without a number, `unnumbered_in_flight` those that wait. `counted` tells whether the events in flight
    were counted in the stream, `stood_still` whether the log did while it was read: otherwise its sums, its ledger, or
    what the stream holds of some producers, could not be compared.
    """

    cursor: str
    total: Account
    producers: list[Account]
    producers_total: int
    producers_notable: int
    ended: Account
    unnumbered: int
    unnumbered_in_flight: int
    duplicates: int
    ledger: LedgerCheck
    counted: bool
    stood_still: bool
    faults: list[str]

    def json(self) -> dict[str, Any]:
        """As a value for JSON."""
        return {"holds": not self.faults} | asdict(self)


class _State(NamedTuple):
    """All of the log but the records of its producers, at one moment. Each change of those that counts changes it."""

    cursor: bytes
    newest: bytes
    total: int
    stats: dict[bytes, bytes]
    counters: dict[bytes, bytes]
    ended: dict[bytes, bytes]


def verify(client: Any, keys: Keys, advance: Advance = unseen, kinds: Kinds = KUBECOST_KINDS) -> Verification:
    """Read the log and check it; `advance` is told how many producers are read, of how many. Of the ledger, the
    categories of `kinds` are checked.

    Raises the driver's errors and `OtherContract`.
    """
    state, records, is_one_moment = _read(client, keys, advance)
    faults = [f"{_text(name)} holds no record in {keys.producers}" for name in records.broken]
    if records.broken_total > len(records.broken):
        faults.append(f"{records.broken_total - len(records.broken)} more fields of {keys.producers} hold no record")
    stats = _numbers(state.stats, keys.stats, faults)
    counters = _numbers(state.counters, keys.counters, faults)
    ended = _numbers(state.ended, keys.producers_ended, faults)
    # What is read again below is of a later moment than the sums.
    faults_of_sums = _faults_of_sums(records, ended, stats, sum(counters.values())) if is_one_moment else []
    found, unsettled = _settle(client, keys, state, records)

    rows = []
    for producer, record in records.open.items():
        account = _account(producer, record, found)
        rows.append((account.missing != 0, record.seen, account))
        if account.missing and producer not in unsettled:
            faults.append(_fault(account))
    ledger, faults_of_ledger = ledger_check.check(client, keys, kinds)
    faults += faults_of_sums + faults_of_ledger
    rows.sort(key=lambda row: row[:2], reverse=True)
    told = [account for *_, account in rows]
    told += [_account(producer, record, found) for producer, record in records.not_open().items()]
    return Verification(
        cursor=state.cursor.decode(),
        total=_total(records, ended, found),
        producers=told[:MOST_TOLD],
        producers_total=state.total,
        producers_notable=records.notable_total,
        ended=_sum("(ended)", ended, 0),
        unnumbered=stats.get("unnumbered", 0),
        unnumbered_in_flight=found.unnumbered,
        duplicates=stats.get("duplicate", 0),
        ledger=ledger,
        counted=found.complete,
        stood_still=is_one_moment and not unsettled and ledger.stood_still,
        faults=_some(faults),
    )


def _read(client: Any, keys: Keys, advance: Advance) -> tuple[_State, Records, bool]:
    """The state, the records, and whether they are of one moment: if not, the state is from before the records, but
    with what was newest in the stream behind them."""
    kept = None
    for _ in range(READINGS):
        state, fields = _state(client, keys, with_records=client.hlen(keys.producers) <= AT_ONCE)
        records = Records(MOST_TOLD)
        if fields is not None:
            records.add(fields)
            return state, records, True
        if not _scan(client, keys, state, records, advance, to_the_end=kept is None):
            continue
        after, _ = _state(client, keys)
        if after == state and records.total == state.total:  # else the store named a producer twice, as it may
            return state, records, True
        kept = kept or (state._replace(newest=after.newest), records, False)
    assert kept is not None
    return kept


def _state(client: Any, keys: Keys, *, with_records: bool = False) -> tuple[_State, dict[bytes, bytes] | None]:
    with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.contract)
        pipe.get(keys.cursor)
        pipe.xrevrange(keys.events, count=1)
        pipe.hlen(keys.producers)
        for key in (keys.stats, keys.counters, keys.producers_ended):
            pipe.hgetall(key)
        if with_records:
            pipe.hgetall(keys.producers)
        version, cursor, newest, total, stats, counters, ended, *records = pipe.execute()
    contract.check(version, keys.name, "etlog")
    stats.pop(b"caught_up", None)  # a time, which the consumer renews while nothing happens
    cursor = cursor or b"0-0"
    state = _State(cursor, newest[0][0] if newest else cursor, total, stats, counters, ended)
    return state, records[0] if with_records else None


def _scan(client: Any, keys: Keys, state: _State, records: Records, advance: Advance, *, to_the_end: bool) -> bool:
    """Take in all records, unless the log moves and they are not wanted then. Returns whether they are taken in."""
    place = slices = 0
    while True:
        place, fields = client.hscan(keys.producers, place, count=SLICE)
        records.add(fields)
        advance(records.total, state.total)
        if place == 0:
            return True
        slices += 1
        if not to_the_end and slices % LOOK_EVERY == 0 and _state(client, keys)[0] != state:
            return False


def _settle(client: Any, keys: Keys, state: _State, records: Records) -> tuple[InFlight, set[bytes]]:
    """What the stream holds of the producers, and those of which it holds too little, but only because a consumer was
    at work meanwhile, and trimmed the stream."""
    cursor, newest = state.cursor, state.newest
    for _ in range(READINGS):
        found = in_flight(client, keys, cursor, newest)
        found.complete = found.complete and records.are_all_open_kept
        _take_in_foreign(client, keys, found, records)
        short = {producer for producer, record in records.open.items() if _account(producer, record, found).missing > 0}
        if not short or client.get(keys.cursor) in {cursor, None}:
            return found, set()
        cursor = client.get(keys.cursor) or b"0-0"
        producers = list(records.open)
        for start in range(0, len(producers), SLICE):
            some = producers[start : start + SLICE]
            for producer, text in zip(some, client.hmget(keys.producers, some), strict=True):
                records.replace(producer, Record.decode(text))
        last = client.xrevrange(keys.events, count=1)
        newest = last[0][0] if last else cursor
    return found, short


def _take_in_foreign(client: Any, keys: Keys, found: InFlight, records: Records) -> None:
    """Tell producers that number their events by plain XADD, of which the record does not know all that is published,
    from those that have no record: nothing is known of their numbers."""
    producers = list(found.runs.keys() - records.open.keys())
    for start in range(0, len(producers), SLICE):
        some = producers[start : start + SLICE]
        for producer, text in zip(some, client.hmget(keys.producers, some), strict=True):
            record = Record.decode(text)
            if record is None:
                found.without_number(producer)
            elif found.of(producer, record).above:
                records.find(producer, record)


def _account(producer: bytes, record: Record, found: InFlight) -> Account:
    known, above = found.of(producer, record)
    if not found.complete:
        known, above = max(0, record.published - record.applied), 0
    applied = record.applied - record.dead - record.lost
    return Account(_text(producer), record.published + above, applied, record.dead, record.lost, known + above)


def _total(records: Records, ended: dict[str, int], found: InFlight) -> Account:
    open_ = [_account(producer, record, found) for producer, record in records.open.items()]
    above = sum(account.published for account in open_) - sum(record.published for record in records.open.values())
    waiting = sum(account.in_flight for account in open_) if found.complete else records.waiting
    sums = {name: records.sums[name] + ended.get(name, 0) for name in SUMS}
    return _sum("total", sums | {"published": sums["published"] + above}, waiting)


def _sum(name: str, sums: dict[str, int], waiting: int) -> Account:
    published, accounted, dead, lost = (sums.get(name, 0) for name in SUMS)
    return Account(name, published, accounted - dead - lost, dead, lost, waiting)


def _numbers(fields: dict[bytes, bytes], key: str, faults: list[str]) -> dict[str, int]:
    """What a hash holds; what is no number counts as 0, and is a fault."""
    faults += [f"{_text(name)} holds no number in {key}" for name, number in fields.items() if not number.isdigit()]
    return {_text(name): int(number) if number.isdigit() else 0 for name, number in fields.items()}


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _some(faults: list[str]) -> list[str]:
    more = len(faults) - MOST_TOLD
    return [*faults[:MOST_TOLD], f"there are {more} more faults"] if more > 0 else faults


def _fault(account: Account) -> str:
    number = abs(account.missing)
    events, are = ("event", "is") if number == 1 else ("events", "are")
    if account.missing > 0:
        return f"{number} {events} of {account.producer} {are} neither applied nor counted nor in the stream"
    return f"{number} more {events} of {account.producer} {are} accounted for than it has published"


def _faults_of_sums(records: Records, ended: dict[str, int], stats: dict[str, int], counted: int) -> list[str]:
    """The faults of what was read at one moment."""
    faults = []
    accounted, published, lost_of_all = (
        records.sums[name] + ended.get(name, 0) for name in ("applied", "published", "lost")
    )
    applied, dead, lost, unnumbered = (stats.get(name, 0) for name in ("applied", "dead", "lost", "unnumbered"))
    if accounted + unnumbered != applied + dead + lost:
        faults.append(
            f"the producers' records account for {accounted} events and {unnumbered} came without a number, "
            f"but the stats say {applied} applied, {dead} dead and {lost} lost"
        )
    if published != stats.get("published", 0):
        faults.append(
            f"the producers' records say {published} published, but the stats say {stats.get('published', 0)}"
        )
    if counted != applied:
        faults.append(f"the counters hold {counted} events, but the stats say {applied} applied")
    if lost_of_all != lost:
        faults.append(f"the producers' records say {lost_of_all} lost, but the stats say {lost}")
    return faults
