"""What a scheduler's task did, as a user's mapping says it: the arguments of `emit`."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from etlog_events.event import WindowPair

from etlog_producer.producer import Producer

logger = logging.getLogger("etlog.producer")


@dataclass(frozen=True, slots=True)
class Outcome:
    """An event to emit; the fields are the arguments of `Producer.emit`."""

    kind: str
    size: int | None = None
    window: WindowPair | None = None
    error: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def report(producer: Producer, mapped: Callable[[], Outcome | None], *, wait: float = 0.0) -> None:
    """Emit what `mapped` returns, and wait up to `wait` seconds for its delivery.

    Whatever goes wrong is logged: the scheduler's task must not suffer from it.
    """
    try:
        outcome = mapped()
        if outcome is not None:
            producer.emit(
                outcome.kind,
                size=outcome.size,
                window=outcome.window,
                error=outcome.error,
                **outcome.metadata,
            )
            if wait:
                producer.flush(wait)
    except Exception as e:
        logger.error("Cannot emit the event of a task: %s", e, extra={"action": "mapping_failed"})
