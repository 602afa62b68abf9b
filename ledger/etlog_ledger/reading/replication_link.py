"""The link of a replica of the store to its primary. While it is down, what the replica says may be old."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from etlog_events import timestamps

#: Seconds by which two accounts of the same outage may differ: the store counts whole seconds.
SAME = 3.0


class ReplicationLink:
    """Remembers since when the link is down, in seconds since 1970; None while it is up, or the node is a primary."""

    def __init__(self) -> None:
        self.down_since: float | None = None

    def note(self, info: Mapping[str, Any]) -> None:
        """Note what `INFO replication` says. An outage keeps one beginning, however often it is reported."""
        since = down_since(info)
        if since is None or self.down_since is None or abs(since - self.down_since) > SAME:
            self.down_since = since


def down_since(info: Mapping[str, Any]) -> float | None:
    """The beginning of the outage that `INFO` reports; now, for a replica that never had a link."""
    if info.get("role") != "slave" or info.get("master_link_status") == "up":
        return None
    return time.time() - max(0, int(info.get("master_link_down_since_seconds", 0)))


def staleness(since: float) -> str:
    """What the reader of an answer must know when the link has been down since then."""
    at = timestamps.from_datetime(datetime.fromtimestamp(int(since), UTC))
    return f"this was read from a replica of the store that lost its primary at {at}: later events may be missing"
