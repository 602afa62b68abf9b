"""A stage at work on one set: its steps and its failures become events."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol

from etlog_events.errors import EtlogError
from etlog_events.event import WindowPair

logger = logging.getLogger("etlog.producer")

#: Characters of an error's text that an event carries. The start of a text says what failed.
MAX_ERROR = 8000


class Emit(Protocol):
    """`Producer.emit`."""

    def __call__(
        self,
        kind: str,
        *,
        window: WindowPair | None,
        size: int | None = None,
        error: str | None = None,
        **metadata: Any,
    ) -> None: ...


class Stage:
    """Emits the events of one set: `with producer.stage("AllocationSet", window=w) as stage:`.

    An exception that leaves the block becomes a `ComputeError` event, one that leaves `reconciling()` a
    `ReconcileError` event; both are raised on. `KeyboardInterrupt` and the like are not failures of the set.
    """

    def __init__(self, emit: Emit, prefix: str, window: WindowPair | None) -> None:
        self._emit = emit
        self._prefix = prefix
        self._window = window
        self._reported: BaseException | None = None

    def loaded(self, *, size: int, **metadata: Any) -> None:
        """The set was loaded from where it was kept; `size` is its number of records."""
        self._emit(self._prefix + "Loaded", window=self._window, size=size, **metadata)

    def saved(self, *, size: int, **metadata: Any) -> None:
        """The set was saved."""
        self._emit(self._prefix + "Saved", window=self._window, size=size, **metadata)

    def aggregated(self, *, size: int, **metadata: Any) -> None:
        """The set was made from others."""
        self._emit(self._prefix + "Aggregated", window=self._window, size=size, **metadata)

    def totaled(self, **metadata: Any) -> None:
        """The set's totals were computed."""
        self._emit(self._prefix + "Totaled", window=self._window, **metadata)

    def reconciled(self, **metadata: Any) -> None:
        """The set was reconciled with another source."""
        self._emit(self._prefix + "Reconciled", window=self._window, **metadata)

    @contextmanager
    def reconciling(self) -> Iterator[None]:
        """A block whose failure is a failure of reconciliation."""
        try:
            yield
        except Exception as e:
            self._report("ReconcileError", e)
            raise

    def __enter__(self) -> "Stage":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and error is not self._reported:
            self._report("ComputeError", error)

    def _report(self, action: str, error: Exception) -> None:
        self._reported = error
        try:
            self._emit(self._prefix + action, window=self._window, error=describe(error))
        except EtlogError as refused:  # must not hide the error that the stage is about
            logger.error("The error event was refused: %s", refused, extra={"action": "error_event_refused"})


def describe(error: Exception) -> str:
    """`ValueError: what it says`, always encodable and never too long for an event."""
    name = type(error).__name__
    try:
        text = f"{name}: {error}"
    except Exception:  # an error whose own text fails still failed
        text = name
    return text[:MAX_ERROR].encode("utf-8", "backslashreplace").decode()
