"""What a measurement gives: series of figures, and the bounds that they are to reach."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


class WrongResult(Exception):
    """Raised when a contestant's work is not what was asked of it, so that its figure says nothing."""


@dataclass
class Series:
    """The figures of one contestant, one a round."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    ours: bool = False

    @property
    def median(self) -> float:
        """Of all rounds."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half of the way between the smallest and the largest, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median if self.median else 0.0


@dataclass(frozen=True)
class Bound:
    """A figure of the last column: what it says, its value in each round, and between what it should be."""

    text: str
    values: Sequence[float]
    least: float | None = None
    most: float | None = None

    @property
    def median(self) -> float:
        """Of all rounds; each compares what ran side by side."""
        return median(self.values)

    @property
    def reached(self) -> bool:
        """Whether the median is where it should be."""
        return (self.least is None or self.median >= self.least) and (self.most is None or self.median <= self.most)


@dataclass
class Row:
    """One kind of work: who did it how fast, and what was to be reached. `notes` say who is missing, and why."""

    work: str
    conditions: str = ""
    series: dict[str, Series] = field(default_factory=dict)
    bounds: list[Bound] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, unit: str, *, ours: bool = False) -> None:
        """Note the figure of one round."""
        self.series.setdefault(name, Series(name, unit, ours=ours)).values.append(value)

    def ratio(self, ours: str, over: str, *, least: float, of: str | None = None) -> None:
        """Bound the ratio of two series, round by round; nothing where one of them could not run."""
        if ours in self.series and over in self.series:
            pairs = zip(self.series[ours].values, self.series[over].values, strict=True)
            self.bounds.append(Bound(of or f"{ours} / {over}", [a / b for a, b in pairs], least=least))

    def bound(self, name: str, *, most: float) -> None:
        """Bound a series itself."""
        if name in self.series:
            self.bounds.append(Bound(name, self.series[name].values, most=most))
