"""The table on the screen."""

from collections.abc import Iterator

from benchmarks.figures import Bound, Row, Series


def lines(row: Row) -> Iterator[str]:
    """A row for people: who, how fast, how far apart the rounds; then what was to be reached."""
    yield f"{row.work}{f' ({row.conditions})' if row.conditions else ''}"
    for series in row.series.values():
        yield f"  {'*' if series.ours else ' '} {series.name:<34} {figure(series):>18}  ±{series.spread:>4.0%}"
    for bound in row.bounds:
        yield f"    {bound.text:<54} {target(bound)}"
    for note in row.notes:
        yield f"    {note}"


def figure(series: Series) -> str:
    """The median with its unit."""
    return f"{number(series.median)} {series.unit}"


def target(bound: Bound) -> str:
    """The figure, what it should be, and whether it is."""
    wanted = f"≥ {bound.least:g}" if bound.least is not None else f"≤ {bound.most:g}"
    return f"{number(bound.median)} {wanted} {'reached' if bound.reached else 'MISSED'}"


def number(value: float) -> str:
    """With as many digits as tell something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
