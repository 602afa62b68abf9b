"""The page of results, `results.md`."""

from collections.abc import Iterator, Sequence

from benchmarks import machine
from benchmarks.figures import Row
from benchmarks.scale import Scale
from benchmarks.table import figure, target


def page(rows: Sequence[Row], scale: Scale, seconds: float) -> str:
    """All rows as Markdown, after what they were measured with."""
    return "\n".join([*_head(rows, scale, seconds), *(line for row in rows for line in _section(row))]) + "\n"


def _head(rows: Sequence[Row], scale: Scale, seconds: float) -> Iterator[str]:
    bounds = [bound for row in rows for bound in row.bounds]
    yield "# Results of the benchmarks"
    yield ""
    yield "Written by `make bench`. What did not help, and why a target is out of reach: [notes.md](notes.md)."
    yield ""
    yield (
        f"{sum(bound.reached for bound in bounds)} of {len(bounds)} targets reached. Medians of {scale.rounds} rounds; "
        "who is compared took turns in each round. ± is half of the way from the slowest to the fastest round. A ratio "
        "is the median of the ratios of the rounds. Every figure counts only after the work itself was checked."
    )
    yield ""
    yield "| measured with | |"
    yield "|---|---|"
    yield f"| machine | {machine.machine()} |"
    yield f"| load at the end | {machine.load()} |"
    yield f"| took | {seconds:.0f} s |"
    for name, text in machine.versions().items():
        yield f"| {name} | {text} |"


def _section(row: Row) -> Iterator[str]:
    yield ""
    yield f"## {row.work[0].upper()}{row.work[1:]}"
    if row.conditions:
        yield ""
        yield f"{row.conditions[0].upper()}{row.conditions[1:]}."
    yield ""
    yield "| | median | spread |"
    yield "|---|---:|---:|"
    for series in row.series.values():
        name = f"**{series.name}**" if series.ours else series.name
        yield f"| {name} | {figure(series)} | ±{series.spread:.0%} |"
    if row.bounds:
        yield ""
        yield "| target | |"
        yield "|---|---|"
        for bound in row.bounds:
            yield f"| {bound.text} | {target(bound)} |"
    for note in row.notes:
        yield ""
        yield note
