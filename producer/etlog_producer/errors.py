"""What a producer raises, beside the errors of `etlog_events.errors`, which draws the tree of all."""

import errno

from etlog_events.errors import EtlogError, StoreRefused, StoreUnavailable


class ProducerClosed(EtlogError, RuntimeError):
    """Raised when an event is emitted after `close`."""

    def __init__(self) -> None:
        super().__init__("an event was emitted after close()")


class SpoolFull(EtlogError):
    """Raised by `emit` under `when_full="raise"` when neither memory nor the spool has room for the event."""


class NotAcknowledged(StoreUnavailable):
    """Raised when the store has a batch, but disk or replica did not confirm it in time; it is sent again."""


class AcksUnavailable(StoreRefused):
    """Raised by `flush` when the store can never give the acknowledgement that was asked for."""


class IdTaken(StoreRefused):
    """Raised when another process publishes under this producer's id."""


class OtherLog(StoreRefused):
    """Raised when events are for a log with another id than the one that the store holds under this name; `held` is the
    id of that one, "" where there is none."""

    def __init__(self, held: str) -> None:
        super().__init__("the store holds another log than the one that these events are for")
        self.held = held


class FolderRefused(EtlogError, PermissionError):
    """Raised for a folder that is not this user's. `strerror` says which, whose it is, and what a producer can do;
    `reason` leaves the last out. `owner` is the user that may use it, None where it is no folder."""

    def __init__(self, reason: str, owner: str | None) -> None:
        super().__init__(errno.EACCES, f"{reason}; choose another with spool_dir or ETLOG_SPOOL_DIR")
        self.reason = reason
        self.owner = owner


class FileRefused(EtlogError, PermissionError):
    """Raised for what is none of our files: a link, a folder, a socket, a file of another user …"""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EPERM, reason)
