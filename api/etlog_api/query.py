"""A query: which events of the log a request asks for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from functools import lru_cache

from etlog_events.kinds import Kinds
from etlog_events.timestamps import canonical
from etlog_events.windows import Window, holds_for_a_minute, parse_window
from starlette.datastructures import QueryParams

from etlog_api.errors import BadQuery

#: Query strings that are remembered, because dashboards ask for the same few, and the bytes of the longest.
REMEMBERED, LONGEST = 256, 1024


@dataclass(frozen=True, slots=True)
class Query:
    """The filters: names of kinds, a span of event times, a span that the windows of sets overlap (start and end in
    canonical spelling), and at most how many of each category. None lets all pass."""

    kinds: frozenset[str] | None = None
    window: Window | None = None
    sets: tuple[str, str] | None = None
    limit: int | None = None
    unknown: tuple[str, ...] = ()  # texts given as kind that no kind contains


class Queries:
    """What the query strings of URLs ask for. All that does not depend on the clock is worked out once."""

    def __init__(self, kinds: Kinds, clock: Callable[[tzinfo], datetime]) -> None:
        self._clock = clock

        @lru_cache(maxsize=REMEMBERED)
        def log(text: bytes) -> str:
            return single(QueryParams(text), "log")

        @lru_cache(maxsize=REMEMBERED)
        def filters(text: bytes) -> tuple[Query, str]:
            return _filters_of(QueryParams(text), kinds)

        @lru_cache(maxsize=REMEMBERED)
        def within(text: bytes, zone: tzinfo, minute: int) -> Query:
            query, window = filters(text)
            return replace(query, window=parse_window(window, now=datetime.fromtimestamp(minute * 60, zone)))

        self._log, self._filters, self._within = log, filters, within

    def log(self, text: bytes) -> str:
        """The name of the log that is asked for, empty without one. Raises `BadQuery`."""
        return self._log(text) if len(text) <= LONGEST else self._log.__wrapped__(text)

    def query(self, text: bytes, zone: tzinfo) -> Query:
        """The query, as of now in the zone of the log.

        Raises `BadQuery`, and `IllegalWindow` for a text that is not a window.
        """
        known = len(text) <= LONGEST
        query, window = self._filters(text) if known else self._filters.__wrapped__(text)
        if not window:
            return query
        now = self._clock(zone)
        if known and holds_for_a_minute(window):
            return self._within(text, zone, int(now.timestamp()) // 60)
        return replace(query, window=parse_window(window, now=now))


def single(parameters: QueryParams, name: str) -> str:
    """The value of the parameter `name`, empty without one. Raises `BadQuery` when it is given several times."""
    values = parameters.getlist(name)
    if len(values) > 1:
        raise BadQuery(f"the parameter {name} is given {len(values)} times; give it once")
    return values[0] if values else ""


def parse_kinds(parameters: QueryParams, kinds: Kinds) -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """The kinds that the parameter `kind` lets pass, None for all, and the texts in it that no kind contains.

    Raises `BadQuery`.
    """
    texts = [text for text in (part.strip() for part in single(parameters, "kind").split(",")) if text]
    found = [kinds.containing(text) for text in texts]
    unknown = tuple(text for text, names in zip(texts, found, strict=True) if not names)
    return (frozenset().union(*found) if texts else None), unknown


def _filters_of(parameters: QueryParams, kinds: Kinds) -> tuple[Query, str]:
    """The query of the parameters `kind`, `set` and `limit`, and the text of the window, empty without one.

    Unknown parameters are ignored, as in Kubecost.
    """
    names, unknown = parse_kinds(parameters, kinds)
    window, sets, limit = (single(parameters, name) for name in ("window", "set", "limit"))
    query = Query(
        kinds=names, sets=_span(sets) if sets else None, limit=_limit(limit) if limit else None, unknown=unknown
    )
    return query, window


def _span(text: str) -> tuple[str, str]:
    """The window of a set, or any span: two RFC 3339 times with a comma or, as the ledger spells it, a slash."""
    start, mark, end = text.partition("/" if "/" in text else ",")
    try:
        found = canonical(start), canonical(end)
    except ValueError:
        found = ("", "")
    if not mark or not found[0][:-1] < found[1][:-1]:
        example = "2022-06-03T10:00:00Z,2022-06-03T11:00:00Z"
        raise BadQuery(f"set must be the start and the end of a window, such as {example}, not {text[:80]!r}")
    return found


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise BadQuery(f"limit must be a whole number of at least 1, not {text[:40]!r}")
    return int(text)
