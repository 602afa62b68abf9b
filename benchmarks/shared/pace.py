"""A steady pace."""

from collections.abc import Iterator
from time import perf_counter, sleep


def steadily(rate: float, count: int) -> Iterator[int]:
    """The numbers from 0 to `count`, each when its time has come; one that is late does not delay those behind it."""
    began = perf_counter()
    for number in range(count):
        ahead = began + number / rate - perf_counter()
        if ahead > 0:
            sleep(ahead)
        yield number
