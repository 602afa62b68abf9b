"""The events of all measurements, as they stand in a stream or in an answer."""

import json
from collections.abc import Iterator
from typing import Any

from etlog_events import timestamps
from etlog_events.entry import contents

from benchmarks.shared import work

KINDS = work.KINDS
WINDOW = {"start": work.WINDOW[0], "end": work.WINDOW[1]}

#: Entries read at a time.
PAGE = 5000


def text(size: int, at: int = 1_654_276_074_092_619_416) -> bytes:
    """The canonical text of the event of this size; `at` is the time of the first, in nanoseconds since 1970."""
    event = {
        "kind": KINDS[size & 1],
        "metadata": {"size": size, "window": WINDOW},
        "time": timestamps.from_nanoseconds(at + size * 1_000_003),
    }
    return json.dumps(event, separators=(",", ":")).encode()


def texts(client: Any, stream: str) -> Iterator[bytes]:
    """The text of each event in a stream, in its order."""
    for fields in entries(client, stream):
        yield from contents([piece for pair in fields.items() for piece in pair]).events


def entries(client: Any, stream: str) -> Iterator[dict[bytes, bytes]]:
    """The fields of each entry of a stream, in its order."""
    after = "-"
    while page := client.xrange(stream, after, count=PAGE):
        for _, fields in page:
            yield fields
        after = "(" + page[-1][0].decode()
