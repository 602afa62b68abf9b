"""Progress of what takes long, on standard error, for who sits at a terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

#: Tells how much is done, of how much.
Advance = Callable[[int, int], None]

#: Seconds after which it is shown.
SHOWN_AFTER = 2.0


def unseen(done: int, total: int) -> None:
    """Show nothing."""


@contextmanager
def shown(what: str) -> Iterator[Advance]:
    """Show, while the block lasts, how far it is with `what`. Nothing of it stays on the terminal."""
    console = Console(stderr=True)
    bar = Progress(TextColumn(what), BarColumn(), MofNCompleteColumn(), console=console, transient=True)
    task = bar.add_task("", total=None)
    show_at = monotonic() + SHOWN_AFTER

    def advance(done: int, total: int) -> None:
        bar.update(task, completed=min(done, total), total=total)
        if console.is_terminal and monotonic() >= show_at and not bar.live.is_started:
            bar.start()

    try:
        yield advance
    finally:
        if bar.live.is_started:
            bar.stop()
