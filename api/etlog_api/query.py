"""A query: which events of the log are asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from etlog_events.errors import EtlogError
from etlog_events.kinds import Kinds
from etlog_events.windows import Window, parse_window
from starlette.datastructures import QueryParams


class BadQuery(EtlogError, ValueError):
    """Raised when a parameter of a query cannot be understood; the message is for the one who asked."""


@dataclass(frozen=True, slots=True)
class Query:
    """The filters: names of kinds, a span of event times, the newest so many of each category. None lets all pass."""

    kinds: frozenset[str] | None = None
    window: Window | None = None
    limit: int | None = None
    unknown: tuple[str, ...] = ()  # texts given as kind that no kind contains


def parse_query(parameters: QueryParams, kinds: Kinds, zone: tzinfo, clock: Callable[[tzinfo], datetime]) -> Query:
    """The query that the parameters `kind`, `window` and `limit` spell. Others are ignored, as Kubecost does.

    Raises `BadQuery`; a window that is none raises `IllegalWindow`.
    """
    names, unknown = parse_kinds(parameters, kinds)
    window, limit = _single(parameters, "window"), _single(parameters, "limit")
    return Query(
        kinds=names,
        window=parse_window(window, now=clock(zone)) if window else None,
        limit=_limit(limit) if limit else None,
        unknown=unknown,
    )


def parse_log(parameters: QueryParams) -> str:
    """The name of the log that the parameter `log` gives, empty for none. Raises `BadQuery`."""
    return _single(parameters, "log")


def parse_kinds(parameters: QueryParams, kinds: Kinds) -> tuple[frozenset[str] | None, tuple[str, ...]]:
    """The kinds that the parameter `kind` lets pass, None for all; and the texts in it that no kind contains."""
    texts = [text for text in (part.strip() for part in _single(parameters, "kind").split(",")) if text]
    found = [kinds.containing(text) for text in texts]
    unknown = tuple(text for text, names in zip(texts, found, strict=True) if not names)
    return (frozenset().union(*found) if texts else None), unknown


def _single(parameters: QueryParams, name: str) -> str:
    values = parameters.getlist(name)
    if len(values) > 1:
        raise BadQuery(f"the parameter {name} is given {len(values)} times; give it once")
    return values[0] if values else ""


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise BadQuery(f"limit must be a whole number of at least 1, not {text[:40]!r}")
    return int(text)
