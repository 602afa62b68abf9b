"""The last number of each producer, by which the live log knows duplicates as the consumer does."""

from collections import OrderedDict

from etlog_events.entry import Contents
from etlog_events.sequence import MAX_SEQ, repeated


class Numbers:
    """The last number of each producer among the events that were seen, of at most `most` producers: the one that was
    not seen for longest is forgotten. `duplicates` counts those that the log has seen up to there."""

    def __init__(self, duplicates: int = 0, most: int | None = None) -> None:
        self.duplicates = duplicates
        self._most = most
        self._last: OrderedDict[bytes, int] = OrderedDict()

    def copy(self) -> "Numbers":
        """Others, to go on with by themselves."""
        other = Numbers(self.duplicates, self._most)
        other._last = self._last.copy()
        return other

    def carry(self, held: Contents, first: int, *, repeats: bool) -> int:
        """Go on past the next entry, whose first event has the number `first`; how many of its first events are
        duplicates. Without `repeats` it is known that none is, whatever was seen of its producer."""
        last = self._last.pop(held.producer, 0) if repeats else 0
        skipped = min(repeated(first, last), len(held.events))
        # Those behind a gap are dead letters, and an entry without any event is one; their numbers count all the same.
        places = [place for place, _ in held.strays] if held.events or held.strays else [0]
        strays = [first + place for place in places if first + place <= MAX_SEQ]
        self.duplicates += skipped + sum(repeated(number, last) > 0 for number in strays)
        self._last[held.producer] = max(last, first + len(held.events) - 1, *strays[-1:])
        self._last.move_to_end(held.producer)
        if self._most is not None and len(self._last) > self._most:
            self._last.popitem(last=False)
        return skipped
