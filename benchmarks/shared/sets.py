"""Events of many sets, as the measurements of the ledger apply them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice

#: Of the kinds of both categories.
PREFIXES = ("AllocationSet", "AssetSet")

ACTIONS = ("Loaded", "Saved", "Aggregated", "Totaled", "Reconciled")

#: Events in one entry of the stream.
BATCH_EVENTS = 100

#: The start of the first window.
FIRST = datetime(2000, 1, 1, tzinfo=UTC)

HOUR = timedelta(hours=1)

ERROR = (
    "ConnectionError: HTTPSConnectionPool(host='prices.example.com', port=443): Max retries exceeded with url: /v1/2022"
)


def window(hour: int) -> tuple[str, str]:
    """Start and end of an hour, counted from the first one."""
    start = FIRST + hour * HOUR
    return _text(start), _text(start + HOUR)


def few(sets: int, _: int) -> Iterator[bytes]:
    """Endlessly events of the same few sets, one action after the other; half of the sets are of each category."""
    for number in count():
        yield _event(number % sets, ACTIONS[number // sets % len(ACTIONS)], 60 + number // sets, f'"size":{number},')


def each_another(_: int, begin: int) -> Iterator[bytes]:
    """Endlessly events of which each has another set, from the one at the place `begin` on."""
    for place in count(begin):
        yield _event(place, "Saved", 60, f'"size":{place},')


def whole(sets: int, begin: int) -> Iterator[bytes]:
    """All events of so many sets, from loaded to reconciled, with the time that each took; every 20th failed before."""
    for place in range(begin, begin + sets):
        size = f'"size":{97 + place % 900},'
        if place // 2 % 20 == 0:
            yield _event(place, "ComputeError", 20, f'"error":"{ERROR}",', ',"seconds":30.004')
        for late, action in enumerate(ACTIONS):
            yield _event(place, action, 60 + late, size, f',"seconds":{late}.25{1 + place % 9}')


#: By the name of the work: gives the texts of its events, for a number of sets, from a place on.
WORK = {"few": few, "each another": each_another, "whole": whole}


def entries(texts: Iterator[bytes], begin: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """Entries with these events as the store gives them, under the numbers of one producer, which is told apart from
    others by `begin`."""
    seq = 1
    while some := list(islice(texts, BATCH_EVENTS)):
        fields = [b"producer", b"vm-27882-223c173187cb45c924ae89b61cd917f5-%d" % begin, b"seq", b"%d" % seq]
        for place, text in enumerate(some):
            fields += (b"event.%d" % place if place else b"event", text)
        yield b"%d-%d" % (1796047080009 + begin, seq), fields
        seq += len(some)


def _event(place: int, action: str, late: int, size: str, more: str = "") -> bytes:
    """An event of the set at this place, so many seconds after its window's end."""
    start, end = window(place // 2)
    time = datetime.fromisoformat(end) + timedelta(seconds=late)
    metadata = f'{{{size}"window":{{"start":"{start}","end":"{end}"}}{more}}}'
    at = f"{_text(time)[:-1]}.{place % 10**8:08}1Z"
    return f'{{"kind":"{PREFIXES[place % 2]}{action}","metadata":{metadata},"time":"{at}"}}'.encode()


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
