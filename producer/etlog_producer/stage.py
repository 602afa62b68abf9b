"""A stage at work on one set: its steps and its failures become events."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
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

    Which action failed is known only where the code says so: the metadata of a `ComputeError` name it as `stage`, such
    as `Saved`, if the exception left `saving()` before the set was `saved()`; `loading()` and the rest work alike.

    The metadata of every event hold `seconds`, to the millisecond: the time since the event before it or since a block
    began, this one or one within it, whichever was last. `seconds=` given to a step wins.
    """

    def __init__(self, emit: Emit, prefix: str, window: WindowPair | None) -> None:
        self._emit = emit
        self._prefix = prefix
        self._window = window
        self._reported: BaseException | None = None
        self._at: str | None = None
        self._since = monotonic()

    def loaded(self, *, size: int, **metadata: Any) -> None:
        """The set was loaded from where it was kept; `size` is its number of records."""
        self.done("Loaded", size=size, **metadata)

    def saved(self, *, size: int, **metadata: Any) -> None:
        """The set was saved."""
        self.done("Saved", size=size, **metadata)

    def aggregated(self, *, size: int, **metadata: Any) -> None:
        """The set was made from others."""
        self.done("Aggregated", size=size, **metadata)

    def totaled(self, **metadata: Any) -> None:
        """The set's totals were computed."""
        self.done("Totaled", **metadata)

    def reconciled(self, **metadata: Any) -> None:
        """The set was reconciled with another source."""
        self.done("Reconciled", **metadata)

    def done(self, action: str, /, **metadata: Any) -> None:
        """The action of this name was done; what the methods above say of theirs."""
        self._tell(action, metadata)
        if self._at == action:
            self._at = None

    def loading(self) -> AbstractContextManager[None]:
        """A block whose failure is a failure to load."""
        return self.doing("Loaded")

    def saving(self) -> AbstractContextManager[None]:
        """A block whose failure is a failure to save."""
        return self.doing("Saved")

    def aggregating(self) -> AbstractContextManager[None]:
        """A block whose failure is a failure to aggregate."""
        return self.doing("Aggregated")

    def totaling(self) -> AbstractContextManager[None]:
        """A block whose failure is a failure to compute totals."""
        return self.doing("Totaled")

    def reconciling(self) -> AbstractContextManager[None]:
        """A block whose failure is a failure of reconciliation."""
        return self.doing("Reconciled", error="ReconcileError")

    @contextmanager
    def doing(self, action: str, *, error: str = "ComputeError") -> Iterator[None]:
        """A block whose failure is one of the action of this name, told by an event of `error`."""
        before, self._at = self._at, action
        self._since = monotonic()
        try:
            yield
        except Exception as e:
            self._report(error, e)
            raise
        finally:
            self._at = before

    def __enter__(self) -> "Stage":
        self._since = monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self._report("ComputeError", error)

    def _report(self, action: str, error: Exception) -> None:
        if error is self._reported:  # by a block within
            return
        self._reported = error
        metadata: dict[str, Any] = {"error": describe(error)}
        if action == "ComputeError" and self._at is not None:
            metadata["stage"] = self._at
        try:
            self._tell(action, metadata)
        except EtlogError as refused:  # must not hide the error that the stage is about
            logger.error("The error event was refused: %s", refused, extra={"action": "error_event_refused"})

    def _tell(self, action: str, metadata: dict[str, Any]) -> None:
        since = self._since  # read before the clock: threads that share a stage never see time go back
        seconds = round(monotonic() - since, 3)
        self._emit(self._prefix + action, window=self._window, **{"seconds": seconds, **metadata})
        self._since = monotonic()


def describe(error: Exception) -> str:
    """`ValueError: what it says`, always encodable and never too long for an event."""
    name = type(error).__name__
    try:
        text = f"{name}: {error}"
    except Exception:  # an error whose own text fails still failed
        text = name
    return text[:MAX_ERROR].encode("utf-8", "backslashreplace").decode()
