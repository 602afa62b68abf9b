"""The producer's errors, in the tree of `etlog_events.errors`.

EtlogError
├── ProducerClosed          an event came after `close` (also a RuntimeError)
├── SpoolFull               there is no room for an event
└── StoreError
    ├── UnexpectedAnswer        the store holds less than it was just given
    ├── StoreUnavailable
    │   └── NotAcknowledged     disk or replica did not confirm a batch in time
    └── StoreRefused
        └── AcksUnavailable     the store can never confirm a batch that way
"""

from etlog_events.errors import EtlogError, StoreError, StoreRefused, StoreUnavailable


class ProducerClosed(EtlogError, RuntimeError):
    """Raised when an event is emitted after `close`."""

    def __init__(self) -> None:
        super().__init__("an event was emitted after close()")


class SpoolFull(EtlogError):
    """Raised by `emit` under `when_full="raise"` when neither memory nor the spool has room for the event."""


class UnexpectedAnswer(StoreError):
    """Raised when the store's answer to a batch cannot be right; the batch is sent again."""


class NotAcknowledged(StoreUnavailable):
    """Raised when the store has a batch, but disk or replica did not confirm it in time; it is sent again."""


class AcksUnavailable(StoreRefused):
    """Raised by `flush` when the store can never give the acknowledgement that was asked for."""
