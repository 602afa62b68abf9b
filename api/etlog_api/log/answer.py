"""Answers: the envelope of OpenCost around events spliced in as they are stored, not decoded and encoded again."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from itertools import islice

import orjson
from etlog_events import timestamps
from etlog_events.kinds import Kinds
from etlog_events.windows import Window
from etlog_ledger.reading.replication_link import staleness

from etlog_api.envelope import enveloped
from etlog_api.log.reader import View
from etlog_api.log.snapshot import Snapshot
from etlog_api.log.story import of_sets
from etlog_api.query import Query

_TIME = b'"time":"'


def answer(view: View, query: Query, kinds: Kinds, warnings: Sequence[str] = ()) -> bytes:
    """The body that answers `query`, with these `warnings` beside its own."""
    snapshot = view.snapshot
    asked = _categories(query, kinds)
    logs = {category: select(events, query) if category in asked else () for category, events in snapshot.logs.items()}
    counters = {
        name: number for name, number in snapshot.counters.items() if query.kinds is None or name in query.kinds
    }
    return enveloped(_spliced(logs, counters), warning(view, query, kinds, logs, warnings))


def _spliced(logs: Mapping[str, Sequence[bytes]], counters: Mapping[str, int]) -> bytes:
    """The data of an answer; the items of `logs` are JSON already."""
    data = [b'"%b":[%b]' % (category.encode(), b",".join(items)) for category, items in logs.items()]
    data.append(b'"counters":' + orjson.dumps(counters))
    return b"{%b}" % b",".join(data)


def select(events: Sequence[bytes], query: Query) -> Sequence[bytes]:
    """The events, stored canonical text in the order of the log, that pass the query."""
    passing: Iterable[bytes] = events if query.limit is None else reversed(events)  # finds the newest first
    if query.kinds is not None:
        prefixes = tuple(b'{"kind":"%b"' % name.encode() for name in query.kinds)
        passing = (event for event in passing if event.startswith(prefixes))
    if query.window is not None:
        passing = _within(passing, query.window)
    if query.sets is not None:
        passing = of_sets(passing, query.sets)
    if query.limit is None:
        return events if passing is events else list(passing)
    return list(islice(passing, query.limit))[::-1]


def time_of(event: bytes) -> str:
    """The time in canonical text, where it comes last."""
    return event[event.rindex(_TIME) + len(_TIME) : -2].decode()


def _within(events: Iterable[bytes], window: Window) -> Iterator[bytes]:
    """Without the `Z` at the end, canonical times order as their texts do: no event's time needs to be parsed."""
    start = b"" if window.start_ns is None else timestamps.from_nanoseconds(window.start_ns)[:-1].encode()
    end = (
        b":" if window.end_ns is None else timestamps.from_nanoseconds(window.end_ns)[:-1].encode()
    )  # beyond any digit
    skipped = len(_TIME)
    return (event for event in events if start <= event[event.rindex(_TIME) + skipped : -3] < end)


def warning(
    view: View, query: Query, kinds: Kinds, logs: Mapping[str, Sequence[bytes]], more: Sequence[str] = ()
) -> str | None:
    """What the reader of an answer with `logs` must know not to be misled, or None."""
    warnings = []
    if view.away_since is not None:
        since = datetime.fromtimestamp(view.away_since, UTC)
        warnings.append(
            f"the store has been unreachable since {timestamps.from_datetime(since)}: this is the log as it was then"
        )
    if view.behind_since is not None:
        warnings.append(staleness(view.behind_since))
    if query.unknown:
        texts = ", ".join(repr(text) for text in query.unknown)
        warnings.append(f"no kind contains {texts}; the kinds are {', '.join(kinds.by_name)}")
    if query.window is not None:
        cut = {category for category, events in logs.items() if query.limit is not None and len(events) >= query.limit}
        warnings += _incomplete(view.snapshot, query.window, kinds, _categories(query, kinds) - cut)
    return "; ".join([*warnings, *more]) or None


def _categories(query: Query, kinds: Kinds) -> Set[str]:
    """The categories whose events are asked for."""
    return {kinds.by_name[name].category for name in (kinds.by_name if query.kinds is None else query.kinds)}


def _incomplete(snapshot: Snapshot, window: Window, kinds: Kinds, categories: Set[str]) -> list[str]:
    """A warning for each category that the window reaches further back than its list does: one that has counted more
    events than its list holds has dropped the first to arrive."""
    counted = dict.fromkeys(snapshot.logs, 0)
    for name, number in snapshot.counters.items():
        if name in kinds.by_name:
            counted[kinds.by_name[name].category] += number
    found = []
    for category, events in snapshot.logs.items():
        if category in categories and events and len(events) < counted[category]:
            doubtful = _doubtful_until(events)
            if window.start_ns is None or window.start_ns <= timestamps.to_nanoseconds(doubtful):
                found.append(
                    f"{category} holds only the last {len(events)} events: up to {doubtful}, some may be missing"
                )
    return found


def _doubtful_until(events: Sequence[bytes]) -> str:
    """The time up to which a list that has dropped events may lack some: the newest in its older half.

    A list is in the order of arrival. What it dropped arrived before all that it holds, so it is older than any of
    these that arrived on time. The first ones may be late, out of a spool; but late ones do not raise the newest time
    of the half, so a single one on time is enough there. Only a longer run of late events, or a stage whose clock is
    ahead, can hide that a later event is missing.
    """
    skipped = len(_TIME)
    half = events[: (len(events) + 1) // 2]
    return time_of(max(half, key=lambda event: event[event.rindex(_TIME) + skipped : -3]))  # as in `_within`
