"""How much work the measurements do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Rounds, modes of the store, and sizes: `full` for figures that count, `quick` to see that all of it works."""

    rounds: int
    append_only: tuple[bool, ...]
    part: float  # of the full size
    seconds: float  # that a load lasts

    def events(self, full: int, least: int = 1000) -> int:
        """A number of events, in whole thousands."""
        return max(least, int(full * self.part) // 1000 * 1000)


FULL = Scale(rounds=3, append_only=(False, True), part=1.0, seconds=1.0)
QUICK = Scale(rounds=1, append_only=(False,), part=0.02, seconds=0.2)
