"""A batch: what a run of entries does to the log, worked out before anything is changed."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import orjson
from etlog_events.errors import InvalidEvent
from etlog_events.kinds import Kind, Kinds
from etlog_events.sequence import MAX_PRODUCER_BYTES, number_of
from etlog_events.validation import validator

logger = logging.getLogger("etlog.consumer")

#: Bytes of a refused entry that its dead letter keeps. An event may not be longer, so more would be of no use.
MAX_DEAD_BYTES = 64 * 1024

#: Losses and dead letters of one batch that get a log line each.
REPORTED = 10

#: An entry as the store gives it: id, then field, value, field, value …
Entry = tuple[bytes, Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A refused entry: where it stood, who sent it, its bytes and the rule it broke."""

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
    """The effects of the entries with these ids, in stream order.

    `unnumbered` counts the entries that came without a number and had an effect, as an event or a dead letter.
    """

    ids: list[bytes] = field(default_factory=list)
    logs: dict[str, list[bytes]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    accounts: dict[bytes, Account] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    duplicates: int = 0
    unnumbered: int = 0

    @property
    def last(self) -> bytes:
        """Id of the last entry."""
        return self.ids[-1]

    @property
    def numbers(self) -> dict[bytes, int]:
        """The last number of each producer in the batch."""
        return {producer: account.after for producer, account in self.accounts.items()}

    @property
    def stats(self) -> dict[str, int]:
        """What the batch adds to the stats; zeros are left out."""
        stats = {
            "applied": sum(self.counters.values()),
            "dead": len(self.dead),
            "duplicate": self.duplicates,
            "lost": sum(len(gap) for gap in self.gaps),
            "unnumbered": self.unnumbered,
        }
        return {name: number for name, number in stats.items() if number}


def collect(  # noqa: PLR0912, PLR0915 - one loop without calls: every event of the log goes through it
    entries: Iterable[Entry],
    applied: Mapping[bytes, int],
    kinds: Kinds,
    validate: Callable[[bytes], tuple[Kind, bytes]] | None = None,
    batch: Batch | None = None,
) -> Batch:
    """The batch of `entries`, in stream order, on top of `batch`, or a new one.

    `applied` holds the last applied number of each producer: what is not above it is a duplicate, what does not
    follow on tells of a loss. Every entry is accounted for. Raises only what `validate` raises beside `InvalidEvent`.
    """
    validate = validate or validator(kinds)
    batch = batch or Batch(logs={category: [] for category in kinds.categories})
    ids, logs, counters, accounts = batch.ids, batch.logs, batch.counters, batch.accounts
    raw: bytes | None
    for entry_id, fields in entries:
        # What the publishing script writes is recognized by its fields, everything else is looked at in detail.
        if len(fields) == 6 and fields[0] == b"event" and fields[2] == b"producer" and fields[4] == b"seq":
            raw, producer, seq = fields[1], fields[3], fields[5]
        else:
            named = dict(zip(fields[::2], fields[1::2], strict=False))
            raw, producer, seq = named.get(b"event"), named.get(b"producer", b""), named.get(b"seq", b"")

        account: Account | None = None
        number = 0
        reason = None
        if seq and producer:
            number = number_of(seq)
            if not number:
                reason = f"seq must be a whole number from 1 to 2^53-1, not {_shown(seq)}"
            elif len(producer) > MAX_PRODUCER_BYTES:
                reason = f"the producer's id is {len(producer)} bytes long, the limit is {MAX_PRODUCER_BYTES}"
            else:
                account = accounts.get(producer)
                if account is None:
                    last = applied.get(producer, 0)
                    account = Account(last, last)
                if number <= account.after:
                    accounts[producer] = account
                    batch.duplicates += 1
                    ids.append(entry_id)
                    continue

        # All that may raise comes before the first change.
        if raw is None:
            letter = _without_event(entry_id, producer, seq, fields)
        elif reason is not None:
            letter = _dead_letter(entry_id, producer, seq, raw, reason)
        else:
            try:
                kind, text = validate(raw)
                letter = None
            except InvalidEvent as e:
                letter = _dead_letter(entry_id, producer, seq, raw, e.reason)

        ids.append(entry_id)
        if account is None:
            batch.unnumbered += 1
        else:
            accounts[producer] = account
            if number != account.after + 1:
                gap = Gap(producer.decode(errors="backslashreplace"), account.after + 1, number - 1)
                batch.gaps.append(gap)
                account.lost += len(gap)
            account.after = number
        if letter is None:
            logs[kind.category].append(text)
            counters[kind.name] = counters.get(kind.name, 0) + 1
        else:
            batch.dead.append(letter)
            if account is not None:
                account.dead += 1
    return batch


def _dead_letter(entry_id: bytes, producer: bytes, seq: bytes, raw: bytes, reason: str) -> DeadLetter:
    if len(raw) > MAX_DEAD_BYTES:
        reason = f"{reason} (only the first {MAX_DEAD_BYTES} bytes are kept here)"
    return DeadLetter(entry_id, producer[:MAX_PRODUCER_BYTES], seq[:64], raw[:MAX_DEAD_BYTES], reason)


def _without_event(entry_id: bytes, producer: bytes, seq: bytes, fields: Iterable[bytes]) -> DeadLetter:
    """The entry has no field `event`: all of its fields are kept, as a JSON list."""
    texts = [value[:MAX_DEAD_BYTES].decode(errors="backslashreplace") for value in fields]
    return _dead_letter(entry_id, producer, seq, orjson.dumps(texts), "the entry has no field 'event'")


def _shown(value: bytes) -> str:
    return repr(value[:40].decode(errors="backslashreplace"))


def collect_despite_bugs(entries: Sequence[Entry], applied: Mapping[bytes, int], kinds: Kinds) -> Batch:
    """`collect`, which a bug in etlog must not stop: an entry on which it fails twice, the second time by itself,
    becomes a dead letter."""
    try:
        return collect(entries, applied, kinds)
    except Exception:
        logger.exception(
            "Failed on a batch of %d entries, will go through them one by one",
            len(entries),
            extra={"action": "batch_failed"},
        )
    batch = collect((), applied, kinds)
    for entry in entries:
        try:
            batch = collect([entry], applied, kinds, batch=batch)
        except Exception as e:
            reason = f"the consumer failed on it: {type(e).__name__}: {str(e)[:200]}"
            batch = collect([entry], applied, kinds, _refusing(reason), batch)
    return batch


def _refusing(reason: str) -> Callable[[bytes], NoReturn]:
    def refuse(raw: bytes) -> NoReturn:
        raise InvalidEvent(reason, raw)

    return refuse


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
    _report_more(gaps[REPORTED:], "losses")


def report_dead_letters(letters: Sequence[DeadLetter]) -> None:
    """Log entries that were refused."""
    for letter in letters[:REPORTED]:
        logger.warning("Dead letter: entry %s: %s", letter.id.decode(), letter.reason, extra={"action": "dead_letter"})
    _report_more(letters[REPORTED:], "dead letters")


def _report_more(rest: Sequence[object], what: str) -> None:
    if rest:
        logger.warning("%d more %s in this batch", len(rest), what, extra={"action": "more"})
