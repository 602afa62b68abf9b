"""The ledger: what it adds to the cost of an event, the memory that it takes, and for how long it blocks the store."""

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from etlog_events.keys import Keys

from benchmarks import programs
from benchmarks.figures import Row, WrongResult
from benchmarks.scale import Scale
from benchmarks.shared import sets
from benchmarks.store import Store, running

KEYS = Keys("benchmark")
CATEGORIES = {"AllocationSet": "allocation", "AssetSet": "asset"}

#: Sets of each category that are kept, unless it is said otherwise.
KEEP = 2000

#: Sets of each category that can be kept at most.
MOST = 50_000

#: Events that each list holds, from which the ledger is made again.
LONG_LIST = 50_000

#: Milliseconds. Nobody waits for the store longer than that.
MOST_BLOCKED = 30.0

#: Microseconds. Shorter commands are not looked at.
SHORT = 200


@dataclass(frozen=True)
class Work:
    """Batches of at most that many events, and how much the ledger may add to the processor time of an event, of both
    processes together and as a share of the time without it: the speed of a machine changes, the share does not."""

    name: str
    work: str
    sets: int
    events: int
    batches: int
    most: float | None = None


WORK = (
    Work("batches of 1,000 events of 10 sets", "few", 10, 1000, 300, most=0.12),
    Work("batches of 4,000 events of 10 sets", "few", 10, 4000, 80),
    Work(f"every event another set, the newest {KEEP:,} kept", "each another", 0, 4000, 160, most=1.4),
)


def rows(scale: Scale) -> Iterator[Row]:
    """The cost of an event, then memory and time of ledgers of two sizes."""
    for work in WORK:
        yield _cost(scale, work)
    for most in (KEEP, MOST):
        yield from _size(scale, scale.events(most))


def _cost(scale: Scale, work: Work) -> Row:
    """Batches with and without the ledger, in turns, each log in a store of its own."""
    row = Row(f"ledger: {work.name}")
    batches, other_begin = max(20, int(work.batches * scale.part)), 2 * MOST if work.work == "each another" else 0
    for _ in range(scale.rounds):
        with ExitStack() as stack:
            ours, other = (stack.enter_context(running(append_only=False)) for _ in range(2))
            job = {"how": "side by side", "url": ours.url, "other_url": other.url, "other_begin": other_begin}
            job |= {"work": work.work, "sets": work.sets, "events": work.events, "keep": KEEP, "cap": 1000}
            told = _run(job, batches=batches, warm=batches // 10)
            check(ours, sets.WORK[work.work](work.sets, 0), keep=KEEP)
            check_counters(other, sets.WORK[work.work](work.sets, other_begin))
        parts = {part: [1e6 * seconds for seconds in told[part]] for part in ("consumer", "store")}
        for part, (with_it, without) in parts.items():
            row.add(part, with_it, "µs/event", ours=True)
            row.add(f"{part}, without a ledger", without, "µs/event")
        for part, (with_it, without) in parts.items():
            row.add(f"the ledger's part, {part}", with_it - without, "µs/event", ours=True)
        more, without_it = (sum(values) for values in zip(*((a - b, b) for a, b in parts.values()), strict=True))
        row.add("the ledger's part", more, "µs/event", ours=True)
        row.add("the same, as a share", more / without_it, "of the rest", ours=True)
    if work.most is not None:
        row.bound("the same, as a share", most=work.most)
    return row


def _size(scale: Scale, keep: int) -> Iterator[Row]:
    """A ledger that is filled, loaded, made again from the lists, and cut down."""
    size, blocked = Row(f"ledger: 2 x {keep:,} hourly sets"), Row(f"ledger: longest command with 2 x {keep:,} sets")
    with running(append_only=False) as store:
        store.client.config_set("slowlog-log-slower-than", SHORT)
        store.client.config_set("slowlog-max-len", 100_000)
        job = {"url": store.url, "work": "whole", "sets": 2 * keep, "begin": 0, "keep": keep}
        job |= {"cap": LONG_LIST, "events": 4000}
        _run(job, how="all at once")
        texts = list(sets.whole(2 * keep, 0))
        _note_longest(blocked, "applying", store)
        check(store, texts, keep=keep)
        store.client.slowlog_reset()  # of what the check has asked
        held = sum(store.client.memory_usage(key, samples=0) for key in _rows_keys())
        size.add("store", held / 2**20, "MiB", ours=True)
        size.add("store, a set", held / (2 * keep), "bytes", ours=True)
        for _ in range(scale.rounds):
            told = _run(job, how="load")
            size.add("consumer", told["memory"] / 2**20, "MiB", ours=True)
            size.add("load at a start", told["seconds"], "s", ours=True)
            _note_longest(blocked, "loading", store)
        store.client.delete(KEYS.unrowed, *_rows_keys())
        store.client.slowlog_reset()
        told = _run(job, how="load")
        size.add(f"make again from lists of {store.client.llen(KEYS.log('asset')):,}", told["seconds"], "s", ours=True)
        _note_longest(blocked, "making it again from the lists", store)
        in_lists = store.client.hlen(KEYS.sets("asset"))
        kept, more = max(1, keep // 25), 400
        _run(job | {"keep": kept, "begin": 2 * keep, "sets": more, "events": 100}, how="all at once")
        _note_longest(blocked, f"keeping {kept:,} instead of {in_lists:,}", store)
        check(store, [*texts, *sets.whole(more, 2 * keep)], keep=kept)
    yield size
    for name in blocked.series:
        blocked.bound(name, most=MOST_BLOCKED)
    yield blocked


def _run(job: dict[str, Any], **more: Any) -> dict[str, Any]:
    with programs.ready("ours/ledger.py", {"log": KEYS.name, **job, **more}) as program:
        program.go()
        return program.result()


def _rows_keys() -> list[str]:
    return [key for category in CATEGORIES.values() for key in (KEYS.sets(category), KEYS.changes(category))]


def _note_longest(row: Row, name: str, store: Store) -> None:
    entries = store.client.slowlog_get(100_000)
    row.add(name, max((entry["duration"] for entry in entries), default=SHORT) / 1000, "ms", ours=True)
    store.client.slowlog_reset()


def check(store: Store, texts: Iterable[bytes], *, keep: int) -> None:
    """The rows are what as many of the events as were applied say, and those that are in none are counted."""
    counters = check_counters(store, texts := list(islice(texts, _applied(store))))
    expected: dict[str, dict[str, dict[str, Any]]] = {category: {} for category in CATEGORIES.values()}
    for event in map(json.loads, texts):
        prefix, category, action = _parts(event["kind"])
        window = event["metadata"].pop("window")
        row = expected[category].setdefault(f"{window['start']}/{window['end']}", {})
        _add(row, action, event["time"], event["metadata"])
    unrowed = dict(counters)
    for prefix, category in CATEGORIES.items():
        wanted = {interval: expected[category][interval] for interval in sorted(expected[category])[-keep:]}
        found = {name.decode(): json.loads(row) for name, row in store.client.hgetall(KEYS.sets(category)).items()}
        if found != wanted:
            wrong = [
                interval for interval in wanted.keys() | found.keys() if wanted.get(interval) != found.get(interval)
            ]
            raise WrongResult(f"{len(wrong)} rows of category {category} are not what was applied, as {min(wrong)}")
        if {name.decode() for name in store.client.zrange(KEYS.changes(category), 0, -1)} != wanted.keys():
            raise WrongResult(f"the changes of category {category} are not its rows")
        for row in wanted.values():
            for action, cell in row.items():
                unrowed[prefix + action] -= cell["n"]
    found_unrowed = _numbers(store, KEYS.unrowed)
    if any(found_unrowed.get(kind, 0) != number for kind, number in unrowed.items()):
        raise WrongResult(f"in no row are {found_unrowed} events instead of {unrowed}")


def check_counters(store: Store, texts: Iterable[bytes]) -> dict[str, int]:
    """The counters, which are what as many of the events as were applied say."""
    expected: dict[str, int] = {}
    for text in islice(texts, _applied(store)):
        kind = json.loads(text)["kind"]
        expected[kind] = expected.get(kind, 0) + 1
    found = _numbers(store, KEYS.counters)
    if found != expected or not found:
        raise WrongResult(f"the counters are {found} instead of {expected}")
    return found


def _applied(store: Store) -> int:
    return int(store.client.hget(KEYS.stats, "applied") or 0)


def _numbers(store: Store, key: str) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in store.client.hgetall(key).items()}


def _parts(kind: str) -> tuple[str, str, str]:
    prefix = next(prefix for prefix in CATEGORIES if kind.startswith(prefix))
    return prefix, CATEGORIES[prefix], kind.removeprefix(prefix)


def _add(row: dict[str, Any], action: str, time: str, facts: dict[str, Any]) -> None:
    """Take one event into a row. These come in the order of their times, after the window's end."""
    cell = row.setdefault(action, {"n": 0, "first": time, "settled": time})
    for name in ("size", "seconds", "error"):
        cell.pop(name, None)
    cell |= {**facts, "n": cell["n"] + 1, "last": time}
