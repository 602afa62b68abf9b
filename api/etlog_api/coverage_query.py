"""What of a verdict a request asks for. It chooses what is shown, never what is judged."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from etlog_events.kinds import Kinds
from etlog_events.windows import Window, parse_window
from etlog_ledger.row import STAGES
from etlog_ledger.verdict import STATES
from starlette.datastructures import QueryParams

from etlog_api.errors import BadQuery
from etlog_api.query import single

#: What `state` may name: what a cell may be, and sizes that are unusual.
SHOWN_STATES = (*STATES, "unusual")


@dataclass(frozen=True, slots=True)
class CoverageQuery:
    """The filters: names of categories, stages and states, and a span that the windows of sets overlap. None lets all
    pass."""

    categories: frozenset[str] | None = None
    stages: frozenset[str] | None = None
    states: frozenset[str] | None = None
    window: Window | None = None


def parse_coverage_query(parameters: QueryParams, kinds: Kinds, now: datetime) -> CoverageQuery:
    """The query of the parameters `category`, `stage`, `state` and `window`; `now` is in the zone of the pipeline.

    Unknown parameters are ignored, as for the log. Raises `BadQuery`, and `IllegalWindow` for a text that is not a
    window.
    """
    window = single(parameters, "window")
    return CoverageQuery(
        categories=_names(parameters, "category", kinds.categories),
        stages=_names(parameters, "stage", STAGES),
        states=_names(parameters, "state", SHOWN_STATES),
        window=parse_window(window, now=now) if window else None,
    )


def _names(parameters: QueryParams, name: str, allowed: Iterable[str]) -> frozenset[str] | None:
    """The comma-separated names in a parameter; None where it is not given or empty."""
    text, known = single(parameters, name), tuple(allowed)
    if not text:
        return None
    names = [part.strip(" ") for part in text.split(",")]
    for given in names:
        if given not in known:
            raise BadQuery(f"{name} must be one of {', '.join(known)}, or several with commas, not {given[:40]!r}")
    return frozenset(names)
