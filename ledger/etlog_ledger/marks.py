"""Marks: what people said of sets, as JSON in the hash `marks`, by id. The field `revision` counts their changes."""

from typing import Literal, get_args

import msgspec

#: `expected-empty`: no set comes, or an empty one, and that is right. `waived`: it does not matter. `retired`: none
#: comes any more. `repairing` and `acknowledged`: it is wrong, and someone knows.
MarkKind = Literal["expected-empty", "waived", "retired", "repairing", "acknowledged"]
MARK_KINDS: tuple[MarkKind, ...] = get_args(MarkKind)

#: What a mark may be of instead of a category: losses of the log itself.
LOST_EVENTS, DEAD_LETTERS = "lost-events", "dead-letters"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, rename={"from_": "from"}):
    """A mark on the sets of `category`: of one cadence (`every`), of one stage, and those whose window overlaps the
    span `from_` to `to` (start included, end excluded); None means all of them, and an open side.

    `at` is when it was made, `by` whom; it ends at `until`. All times are RFC 3339 in UTC. `count` is how many events
    were lost or dead when those were acknowledged.
    """

    id: str
    category: str
    kind: MarkKind
    reason: str
    by: str
    at: str
    every: str | None = None
    stage: str | None = None
    from_: str | None = None
    to: str | None = None
    until: str | None = None
    count: int | None = None
