"""Events that tests need again and again, and the batches that they travel in."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from etlog_events.event import Event

#: The window of a set, one hour.
WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")

#: The six events in the documentation of Kubecost's Events API, each on one line.
DOCUMENTED: dict[str, list[bytes]] = {
    "allocation": [
        b'{"kind":"AllocationSetAggregated","metadata":{"size":35,"window":{"start":"2022-06-03T00:00:00Z","end":"2022-06-04T00:00:00Z"}},"time":"2022-06-03T16:58:41.289194368Z"}',
        b'{"kind":"AllocationSetTotaled","metadata":{"window":{"start":"2022-06-03T00:00:00Z","end":"2022-06-04T00:00:00Z"}},"time":"2022-06-03T16:58:41.285759258Z"}',
        b'{"kind":"AllocationSetSaved","metadata":{"size":97,"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}},"time":"2022-06-03T17:07:54.092619416Z"}',
    ],
    "asset": [
        b'{"kind":"AssetSetTotaled","metadata":{"window":{"start":"2022-06-03T00:00:00Z","end":"2022-06-04T00:00:00Z"}},"time":"2022-06-03T16:58:18.340435496Z"}',
        b'{"kind":"AssetSetAggregated","metadata":{"size":4,"window":{"start":"2022-06-03T00:00:00Z","end":"2022-06-04T00:00:00Z"}},"time":"2022-06-03T16:58:18.341095359Z"}',
        b'{"kind":"AssetSetSaved","metadata":{"size":29,"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}},"time":"2022-06-03T17:07:54.3346484Z"}',
    ],
}


def saved(size: int = 97, prefix: str = "AllocationSet", **metadata: Any) -> bytes:
    """Canonical text of an event of a saved set."""
    return Event.new(
        prefix + "Saved", size=size, window=WINDOW, time="2022-06-03T17:07:54.092619416Z", metadata=metadata
    ).encode()


#: Events in the batches of a stage that is now idle and now busy.
MIXED = (1, 2, 1, 30, 500, 1, 7, 250)


def batches(texts: Sequence[bytes], size: int | None = None) -> Iterator[Sequence[bytes]]:
    """`texts` in batches of `size`; without one, in batches of one and of several."""
    first = 0
    for mixed in cycle(MIXED):
        if first >= len(texts):
            return
        batch = texts[first : first + (size or mixed)]
        yield batch
        first += len(batch)


def text(
    metadata: str = '"size":97,"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}',
    *,
    kind: str = "AllocationSetSaved",
    time: str = '"2022-06-03T17:07:54.092619416Z"',
) -> bytes:
    """The text of an event, put together from JSON texts that need not keep any rule."""
    return f'{{"kind":"{kind}","metadata":{{{metadata}}},"time":{time}}}'.encode("utf-8", "surrogateescape")
