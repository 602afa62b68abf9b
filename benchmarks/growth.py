"""Growth: what an event costs the consumer with longer lists, a longer backlog, more producers."""

import time
from collections.abc import Iterator, Sequence

from benchmarks import apply, events, programs
from benchmarks.figures import Bound, Row
from benchmarks.scale import Scale
from benchmarks.store import Store, running

COUNT = 200_000

LONG = 1_000_000

#: Seconds in which a million waiting events are to be applied.
CATCH_UP = 4.0


def rows(scale: Scale) -> Iterator[Row]:
    """Each kind of growth beside what it grows from."""
    texts = [events.text(size) for size in range(scale.events(LONG))]
    some = texts[: scale.events(COUNT)]
    with running(append_only=False) as store:
        row = Row("growth: cap 100 → 10,000")
        apply.fill(store, some)
        for _ in range(scale.rounds):
            for cap in (100, 10_000):
                _add(row, f"cap {cap:,}", store, some, cap=cap)
        yield _flat(row, "cap 100", "cap 10,000")

        row = Row("growth: 1 → 64 producers")
        for _ in range(scale.rounds):
            for producers in (1, 64):
                apply.fill(store, some, producers)
                _add(row, f"{producers} producers", store, some)
        yield _flat(row, "1 producers", "64 producers")

        short = max(10_000, len(texts) // 100)
        row = Row(f"growth: backlog {short:,} → {len(texts):,}")
        for _ in range(scale.rounds):
            for count in (short, len(texts)):
                apply.fill(store, texts[:count])
                _add(row, f"backlog {count:,}", store, texts[:count])
        _flat(row, f"backlog {short:,}", f"backlog {len(texts):,}")
        if len(texts) == LONG:
            seconds = [value * LONG / 1e6 for value in row.series[f"backlog {LONG:,}"].values]
            row.bounds.append(Bound(f"seconds to catch up from {LONG:,}", seconds, most=CATCH_UP))
        yield row


def _add(row: Row, name: str, store: Store, texts: Sequence[bytes], *, cap: int = apply.CAP) -> None:
    apply.clear(store)
    apply.lay_out(store, len(texts))
    with programs.ready("ours/apply.py", {"url": store.url, "log": apply.KEYS.name, "cap": cap}) as consumer:
        began = time.perf_counter()
        consumer.go()
        seconds = apply.wait_applied(store, len(texts), consumer) - began
    apply.check(store, texts, cap=cap)
    row.add(name, seconds / len(texts) * 1e6, "µs/event", ours=True)


def _flat(row: Row, before: str, after: str) -> Row:
    pairs = zip(row.series[after].values, row.series[before].values, strict=True)
    row.bounds.append(Bound(f"{after} / {before}", [a / b for a, b in pairs], most=1.2))
    return row
