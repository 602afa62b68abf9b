"""The page of results."""
from collections.abc import Sequence

from benchmarks.figures import Row


def page(rows: Sequence[Row]) -> str:
    """All rows as Markdown."""
    return ""
