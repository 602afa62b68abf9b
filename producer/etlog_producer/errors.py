"""What a producer raises beside the errors of the contract."""

from etlog_events.errors import EtlogError, StoreRefused


class ProducerClosed(EtlogError, RuntimeError):
    """Raised when `emit` is called after `close`."""


class SpoolFull(EtlogError):
    """Raised by `emit` under `when_full="raise"` when neither memory nor the spool has room: the event is not taken."""


class AcksUnavailable(StoreRefused):
    """Raised by `flush` when the store can never give the acknowledgement that was asked for."""
