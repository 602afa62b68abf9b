"""What a command prints to: a terminal of some width, or a pipe whose reader may leave."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

#: Columns where there is no terminal: what belongs together stays on one line, for `grep`.
ENDLESS = 1_000_000


def columns(console: Console) -> int:
    """How wide a line may be."""
    return console.width if console.is_terminal else ENDLESS


def prints(console: Console, text: str) -> bool:
    """Whether the encoding of the output has every character of `text`."""
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextmanager
def ending_with_the_reader() -> Iterator[None]:
    """End as any other command does when the reader of the output is gone, as in `etlog log | head`.

    No longer than while something is printed: a connection to the API that breaks is no reason to end.
    """
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        yield
        if sys.stdout is not None:  # the caller may have closed it
            sys.stdout.flush()
    finally:
        signal.signal(signal.SIGPIPE, before)
