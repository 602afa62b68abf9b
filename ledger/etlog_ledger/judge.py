"""The judge: rows, marks, expectations, zone, now -> verdict."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo

from etlog_events.kinds import Kinds

from etlog_ledger.expectations import Expectation
from etlog_ledger.marks import Mark
from etlog_ledger.row import Row
from etlog_ledger.verdict import STATES, Verdict


class Judge:
    """Judges the sets of one log. What it remembers from one verdict to the next only saves time."""

    def __init__(self, kinds: Kinds, zone: tzinfo, expectations: Sequence[Expectation] = ()) -> None:
        self._kinds = kinds
        self._zone = zone
        self._expectations = expectations

    def judge(self, rows: Mapping[str, Mapping[str, Row]], marks: Sequence[Mark], now: datetime) -> Verdict:
        """The verdict on these rows, category -> interval -> row, as of `now`."""
        return Verdict(now.timestamp(), dict.fromkeys((*STATES, "unusual"), 0), (), (), (), {})
