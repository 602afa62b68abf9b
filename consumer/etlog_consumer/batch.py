"""A batch: what a run of entries does to the log, worked out before anything is changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from etlog_events.errors import InvalidEvent
from etlog_events.kinds import Kinds
from etlog_events.validation import validator

#: Bytes of a refused entry that its dead letter keeps. An event may not be longer, so more would mend nothing.
MAX_DEAD_BYTES = 64 * 1024

#: The largest sequence number: what Lua's numbers hold exactly.
MAX_SEQ = 2**53 - 1

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


@dataclass(slots=True)
class Batch:
    """The effects of `entries` entries up to the one with the id `last`."""

    entries: int
    last: bytes
    ids: list[bytes]
    logs: dict[str, list[bytes]] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    numbers: dict[bytes, int] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    duplicates: int = 0

    @property
    def stats(self) -> dict[str, int]:
        """What the batch adds to the stats; zeros are left out."""
        stats = {
            "applied": sum(self.counters.values()),
            "dead": len(self.dead),
            "duplicate": self.duplicates,
            "lost": sum(gap.last - gap.first + 1 for gap in self.gaps),
        }
        return {name: number for name, number in stats.items() if number}


def collect(entries: Sequence[Entry], applied: Mapping[bytes, int], kinds: Kinds) -> Batch:
    """The batch of `entries`, at least one, in stream order.

    `applied` holds the last applied number of each producer: what is not above it is a duplicate, what does not
    follow on tells of a loss. Every entry is accounted for, and none raises.
    """
    validate = validator(kinds)
    batch = Batch(entries=len(entries), last=entries[-1][0], ids=[entry_id for entry_id, _ in entries])
    logs: dict[str, list[bytes]] = {category: [] for category in kinds.categories}
    counters: dict[str, int] = {}
    numbers = batch.numbers
    for entry_id, fields in entries:
        # What the publishing script writes is recognized at a glance, everything else is looked at in detail.
        if len(fields) == 6 and fields[0] == b"event" and fields[2] == b"producer" and fields[4] == b"seq":
            raw, producer, seq = fields[1], fields[3], fields[5]
        else:
            named = dict(zip(fields[::2], fields[1::2], strict=False))
            producer, seq = named.get(b"producer", b""), named.get(b"seq", b"")
            if b"event" not in named:
                batch.dead.append(_without_event(entry_id, producer, seq, fields))
                continue
            raw = named[b"event"]
        if seq and producer:
            number = int(seq) if seq.isdigit() and len(seq) < 17 else 0
            if not 0 < number <= MAX_SEQ:
                reason = f"seq must be a whole number from 1 to 2^53-1, not {_shown(seq)}"
                batch.dead.append(_dead_letter(entry_id, producer, seq, raw, reason))
                continue
            last = numbers.get(producer)
            if last is None:
                last = applied.get(producer, 0)
            if number != last + 1:
                if number <= last:
                    batch.duplicates += 1
                    continue
                batch.gaps.append(Gap(producer.decode(errors="backslashreplace"), last + 1, number - 1))
            numbers[producer] = number
        try:
            kind, text = validate(raw)
        except InvalidEvent as e:
            batch.dead.append(_dead_letter(entry_id, producer, seq, raw, e.reason))
            continue
        logs[kind.category].append(text)
        counters[kind.name] = counters.get(kind.name, 0) + 1
    batch.logs = logs
    batch.counters = counters
    return batch


def _dead_letter(entry_id: bytes, producer: bytes, seq: bytes, raw: bytes, reason: str) -> DeadLetter:
    if len(raw) > MAX_DEAD_BYTES:
        reason = f"{reason} (only the first {MAX_DEAD_BYTES} bytes are kept here)"
    return DeadLetter(entry_id, producer[:256], seq[:64], raw[:MAX_DEAD_BYTES], reason)


def _without_event(entry_id: bytes, producer: bytes, seq: bytes, fields: Iterable[bytes]) -> DeadLetter:
    """The entry has no field `event`: all of its fields are kept, as a JSON list."""
    texts = [value[:MAX_DEAD_BYTES].decode(errors="backslashreplace") for value in fields]
    return _dead_letter(entry_id, producer, seq, orjson.dumps(texts), "the entry has no field 'event'")


def _shown(value: bytes) -> str:
    return repr(value[:40].decode(errors="backslashreplace"))
