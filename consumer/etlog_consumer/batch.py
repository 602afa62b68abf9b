"""A batch: what a run of entries does to the log, worked out before anything is changed."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import orjson
from etlog_events.entry import MOST_EVENTS, NAMES, contents, event_id, first_number
from etlog_events.errors import InvalidEvent
from etlog_events.kinds import Kind, Kinds
from etlog_events.sequence import MAX_PRODUCER_BYTES, MAX_SEQ, repeated
from etlog_events.validation import Note, Noter, noter

logger = logging.getLogger("etlog.consumer")

#: Bytes of a refused event that its dead letter keeps. An event may not be longer, so more would be of no use.
MAX_DEAD_BYTES = 64 * 1024

#: Dead letters of one entry that are kept, the last ones: the store does nothing else while it takes them.
MOST_LETTERS = 4000

#: Every how many events an entry is marked, as a place up to which the stream may be trimmed later. `apply.lua`
#: is told, because it marks the last one of a batch.
MARK_EVERY = 1000

#: Cells of the ledger in one batch: the store does nothing else while it takes their rows.
MOST_CELLS = 1000

#: Losses and dead letters of one batch that get a log line each.
REPORTED = 10

#: An entry as the store gives it: id, then field, value, field, value …
Entry = tuple[bytes, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused event: its id in the stream, who sent it, its number, its bytes and the rule it broke."""

    id: bytes
    producer: bytes
    seq: bytes
    raw: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a producer that never arrived: `first` to `last`."""

    producer: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(slots=True)
class Account:
    """What a batch does to one producer's record: its last number `before` and `after`, and how many of the numbers
    between them are dead or lost. The others are applied."""

    before: int
    after: int
    dead: int = 0
    lost: int = 0


@dataclass(slots=True)
class Batch:
    """The effects of `entries`, in stream order.

    `notes` holds what the events tell of their sets, by the name of the kind and the interval of the set.
    `unnumbered` counts the events that came without a number, applied and dead ones; `without_letter` the refused ones
    of which no dead letter is kept, because `MOST_LETTERS` of the same entry follow. `marks` names an entry every
    `MARK_EVERY` events, by the number of events up to its end.
    """

    entries: Sequence[Entry] = ()
    logs: dict[str, list[bytes]] = field(default_factory=dict)
    notes: defaultdict[tuple[str, str], list[Note]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[str, int] = field(default_factory=dict)
    accounts: dict[bytes, Account] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    duplicates: int = 0
    unnumbered: int = 0
    without_letter: int = 0
    marks: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def last(self) -> bytes:
        """Id of the last entry."""
        return self.entries[-1][0]

    @property
    def numbers(self) -> dict[bytes, int]:
        """The last number of each producer in the batch."""
        return {producer: account.after for producer, account in self.accounts.items()}

    @property
    def stats(self) -> dict[str, int]:
        """What the batch adds to the stats."""
        return {
            "applied": sum(self.counters.values()),
            "dead": len(self.dead) + self.without_letter,
            "duplicate": self.duplicates,
            "lost": sum(len(gap) for gap in self.gaps),
            "unnumbered": self.unnumbered,
        }


def collect(  # noqa: PLR0912, PLR0915 - one loop: every event of the log goes through it
    entries: Sequence[Entry],
    applied: Mapping[bytes, int],
    kinds: Kinds,
    note: Noter | None = None,
    ended: Set[bytes] = frozenset(),
) -> Batch:
    """The batch of `entries`, in stream order. One of very many sets ends before the last entry, see `MOST_CELLS`.

    `applied` holds the last applied number of each producer, 0 where it is not known: what is not above it is a
    duplicate, what does not follow on tells of a loss. All events of the producers `ended` are duplicates. Every event
    is accounted for. Raises only what `note` raises beside `InvalidEvent`.
    """
    note = note or noter(kinds)
    batch = Batch(entries, logs={category: [] for category in kinds.categories})
    logs, notes, accounts = batch.logs, batch.notes, batch.accounts
    passed = marked = 0
    for taken, (entry_id, fields) in enumerate(entries):
        held = contents(fields)
        producer, seq, events, strays = held
        if taken and len(notes) + len(events) > MOST_CELLS:
            batch.entries = entries[:taken]
            break
        passed += len(events) + len(strays) or 1
        if passed - marked >= MARK_EVERY:
            batch.marks.append((passed, entry_id))
            marked = passed
        if ended and producer in ended:
            batch.duplicates += len(events) + len(strays) or 1
            continue
        account = reason = None
        skip = 0
        first = first_number(held)
        if first is None:
            first, reason = 0, _why_unnumbered(producer, seq)
        elif first:
            account = accounts.get(producer)
            if account is None:
                last = applied.get(producer, 0)
                account = accounts[producer] = Account(last, last)
            skip = min(repeated(first, account.after), len(events))
            batch.duplicates += skip
            if skip:
                events = events[skip:]
        if events:
            if account is None:
                batch.unnumbered += len(events)
            else:
                _advance(batch, producer, account, first + skip, first + skip + len(events) - 1)
            for place, raw in enumerate(events, skip):
                try:
                    if reason is not None:
                        raise InvalidEvent(reason)
                    kind, text, interval, noted = note(raw)
                except InvalidEvent as e:
                    number = seq if account is None else b"%d" % (first + place)
                    _refuse(batch, account, event_id(entry_id, place), producer, number, raw, e.reason)
                else:
                    logs[kind.category].append(text)
                    notes[kind.name, interval].append(noted)
        elif not skip and not strays:
            strays = ((0, _without_event(fields)),)
        for follow, (place, raw) in zip(range(len(strays) - 1, -1, -1), strays, strict=True):
            stray_account, number = account, seq
            if account is None or first + place > MAX_SEQ:
                batch.unnumbered += 1
                stray_account = None
            elif repeated(first + place, account.after):
                batch.duplicates += 1
                continue
            else:
                _advance(batch, producer, account, first + place, first + place)
                number = b"%d" % (first + place)
            if follow < MOST_LETTERS:
                id_, why = event_id(entry_id, place), _why_astray(place, reason)
                _refuse(batch, stray_account, id_, producer, number, raw, why)
            else:
                batch.without_letter += 1
                if stray_account is not None:
                    stray_account.dead += 1
    for (name, _), of_cell in notes.items():
        batch.counters[name] = batch.counters.get(name, 0) + len(of_cell)
    return batch


def _advance(batch: Batch, producer: bytes, account: Account, first: int, last: int) -> None:
    """The events numbered `first` to `last` are there, after those of the account."""
    if first != account.after + 1:
        gap = Gap(producer.decode(errors="backslashreplace"), account.after + 1, first - 1)
        batch.gaps.append(gap)
        account.lost += len(gap)
    account.after = last


def _refuse(
    batch: Batch, account: Account | None, id_: bytes, producer: bytes, seq: bytes, raw: bytes, reason: str
) -> None:
    if len(raw) > MAX_DEAD_BYTES:
        reason = f"{reason} (only the first {MAX_DEAD_BYTES} bytes are kept here)"
    batch.dead.append(DeadLetter(id_, producer[:MAX_PRODUCER_BYTES], seq[:64], raw[:MAX_DEAD_BYTES], reason))
    if account is not None:
        account.dead += 1


def _without_event(fields: Iterable[bytes]) -> bytes:
    """All fields of an entry that holds no event, as a JSON list."""
    return orjson.dumps([value[:MAX_DEAD_BYTES].decode(errors="backslashreplace") for value in fields])


def _why_unnumbered(producer: bytes, seq: bytes) -> str:
    if len(producer) > MAX_PRODUCER_BYTES:
        return f"the producer's id is {len(producer)} bytes long, the limit is {MAX_PRODUCER_BYTES}"
    return f"seq must be a whole number from 1 to 2^53-1, not {_shown(seq)}"


def _why_astray(place: int, reason: str | None) -> str:
    if reason is not None:
        return reason
    if place == 0:
        return "the entry has no field 'event'"
    if place >= MOST_EVENTS:
        return f"an entry may hold {MOST_EVENTS} events, up to {NAMES[-1].decode()!r}, not 'event.{place}'"
    return f"a field before 'event.{place}' is missing: the events of an entry are 'event', 'event.1', 'event.2' …"


def _shown(value: bytes) -> str:
    return repr(value[:40].decode(errors="backslashreplace"))


def collect_despite_bugs(
    entries: Sequence[Entry], applied: Mapping[bytes, int], kinds: Kinds, ended: Set[bytes] = frozenset()
) -> Batch:
    """`collect`, which a bug in etlog must not stop: an event on which it fails twice becomes a dead letter."""
    try:
        return collect(entries, applied, kinds, ended=ended)
    except Exception:
        logger.exception(
            "Failed on a batch of %d entries, will dead-letter the events it fails on",
            len(entries),
            extra={"action": "batch_failed"},
        )
    return collect(entries, applied, kinds, _guarded(noter(kinds)), ended)


def _guarded(note: Noter) -> Noter:
    def guarded(raw: bytes) -> tuple[Kind, bytes, str, Note]:
        try:
            return note(raw)
        except InvalidEvent:
            raise
        except Exception as e:
            raise InvalidEvent(f"the consumer failed on it: {type(e).__name__}: {str(e)[:200]}", raw) from e

    return guarded


def report_losses(gaps: Sequence[Gap]) -> None:
    """Log events that never arrived."""
    for gap in gaps[:REPORTED]:
        logger.error(
            "Lost: events %d to %d of producer %s never arrived",
            gap.first,
            gap.last,
            gap.producer,
            extra={"action": "events_lost", "producer": gap.producer, "first": gap.first, "last": gap.last},
        )
    _report_more(len(gaps) - REPORTED, "losses")


def report_dead_letters(batch: Batch) -> None:
    """Log events that were refused."""
    for letter in batch.dead[:REPORTED]:
        logger.warning("Dead letter: event %s: %s", letter.id.decode(), letter.reason, extra={"action": "dead_letter"})
    _report_more(batch.stats["dead"] - REPORTED, "dead letters")


def _report_more(number: int, what: str) -> None:
    if number > 0:
        logger.warning("%d more %s in this batch", number, what, extra={"action": "more"})
