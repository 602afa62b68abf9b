"""What became of the events of a trial: those that were emitted, compared with those in the stream and with what
someone has counted as lost."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Outcome:
    """The events of a trial, or of several.

    `lost` were emitted and are not in the stream, `doubled` are there twice. `unseen` are those of the lost that no one
    has counted or reported, `false` were counted as lost and are not. `broken` holds a sentence for each promise that
    was not kept.
    """

    emitted: int = 0
    lost: int = 0
    doubled: int = 0
    unseen: int = 0
    false: int = 0
    broken: tuple[str, ...] = ()

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(
            self.emitted + other.emitted,
            self.lost + other.lost,
            self.doubled + other.doubled,
            self.unseen + other.unseen,
            self.false + other.false,
            self.broken + other.broken,
        )


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known after a trial. Events are told apart by their sizes.

    The `emit` of those in `sure` has returned; that of those in `maybe` has not, because of an interrupt or the end of
    the process. `sizes` are those in the stream. `published` and `gaps` are what the store says: the numbers that were
    given out up to the last one that reached it, and how many of them are not there. The producers say how many events
    they have `dropped`, which have no number, and `lost`. `broken_lines` were reported by whoever sent spool files.
    Only what is in `destroyed` may be lost, unless `may_lose`; all that is lost must be seen, unless `unkeepable`.
    """

    sure: Set[int]
    maybe: Set[int] = frozenset()
    sizes: Sequence[int]
    published: int
    gaps: int = 0
    dropped: int = 0
    lost: int = 0
    broken_lines: int = 0
    destroyed: Set[int] = frozenset()
    may_lose: bool = False
    unkeepable: bool = False
    broken: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """What became of the events."""
        there = set(self.sizes)
        missing = self.sure - there
        doubled = len(self.sizes) - len(there)
        unseen = max(0, len(missing) - self._most_counted)
        false = max(0, self._least_counted - len(missing) - len(self.maybe - there))
        for number, what in (
            (doubled, "are there twice"),
            (len(there - self.sure - self.maybe), "were refused and are there"),
            (0 if self.unkeepable else unseen, "are gone without a word"),
            (false, "are counted as lost and are not"),
            (0 if self.may_lose else len(missing - self.destroyed), "are gone that nothing has destroyed"),
        ):
            if number:
                self.broken.append(f"{number} events {what}")
        return Outcome(len(self.sure), len(missing), doubled, unseen, false, tuple(self.broken))

    @property
    def _least_counted(self) -> int:
        """What producers lost may be among the gaps: as soon as they can they tell the store of it."""
        return max(self.gaps, self.lost) + self.dropped

    @property
    def _most_counted(self) -> int:
        """What is not among the gaps has a number behind the last one that the store knows."""
        behind = max(0, len(self.sure) + len(self.maybe) - self.dropped - self.published)
        return max(self.gaps + min(self.lost, behind), self.lost) + self.dropped + self.broken_lines
