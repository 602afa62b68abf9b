"""A bug of ours that one entry brings to light must not stop the log."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from etlog_events.errors import InvalidEvent
from etlog_events.kinds import Kinds

from etlog_consumer.batch import Batch, Entry, collect

logger = logging.getLogger("etlog.consumer")


def collect_whatever_happens(entries: Sequence[Entry], applied: Mapping[bytes, int], kinds: Kinds) -> Batch:
    """`collect`, and an entry on which it fails twice, the second time by itself, becomes a dead letter."""
    try:
        return collect(entries, applied, kinds)
    except Exception:
        logger.exception(
            "Failed on a batch of %d entries, will go through them one by one",
            len(entries),
            extra={"action": "batch_failed"},
        )
    batch = collect((), applied, kinds)
    for entry in entries:
        try:
            batch = collect([entry], applied, kinds, batch=batch)
        except Exception as e:
            reason = f"the consumer failed on it: {type(e).__name__}: {str(e)[:200]}"
            batch = collect([entry], applied, kinds, _refusing(reason), batch)
    return batch


def _refusing(reason: str) -> Callable[[bytes], NoReturn]:
    def refuse(raw: bytes) -> NoReturn:
        raise InvalidEvent(reason, raw)

    return refuse
