"""The error tree of etlog, all parts of it. Catch `EtlogError` for every error.

EtlogError
├── InvalidEvent            an event breaks a rule of the contract (also a ValueError)
├── IllegalWindow           a text is not a window (also a ValueError)
├── SettingsError           a setting has a bad value (also a ValueError)
├── ConfigError             the configuration file cannot be read or has mistakes (also a ValueError)
├── StoreError              the store did not do what was asked
│   ├── StoreUnavailable    it cannot be reached, or is not ready
│   │   └── NotAcknowledged     producer: it has not acknowledged in time what was published
│   ├── StoreRefused        it refused: a password, a permission, a type
│   │   ├── AcksUnavailable     producer: it can never acknowledge as was asked
│   │   ├── IdTaken             producer: another process publishes under its id
│   │   └── OtherLog            producer: it holds another log under the name than the one that events are for
│   └── OtherContract       its log follows another contract than this part
├── ProducerClosed          producer: an event is emitted after the end (also a RuntimeError)
├── SpoolFull               producer: neither memory nor the spool has room for an event
├── FolderRefused           producer: the spool folder is another user's (also a PermissionError)
├── FileRefused             producer: what lies in the spool is none of its files (also a PermissionError)
├── BadQuery                api: a parameter of a request cannot be understood (also a ValueError)
├── UnknownLog              api: a request names a log that is not served to its caller (also a LookupError)
├── CommandFailed           cli: a command cannot do what was asked
├── SetUnreadable           dev: the file of a set does not hold one
├── SetOverlap              dev: a window would count twice in a set (also a ValueError)
├── NothingRead             dev: nothing was metered for a set
└── NotReconcilable         dev: two sets contradict each other

Wrong arguments of a call are a `ValueError` or a `TypeError`, as everywhere in Python. A function that takes a client
of the store raises the errors of the driver, and says so.
"""

from collections.abc import Sequence


class EtlogError(Exception):
    """Root of every error that etlog raises."""


class InvalidEvent(EtlogError, ValueError):
    """Raised when an event breaks a rule of the contract.

    `reason` names the rule in one sentence; `raw` holds the bytes as they came, empty when the event was
    never bytes (a call of `emit`).
    """

    def __init__(self, reason: str, raw: bytes = b"") -> None:
        super().__init__(reason)
        self.reason = reason
        self.raw = raw


class IllegalWindow(EtlogError, ValueError):
    """Raised when a text is not a window; `text` holds it, and the message is the one that OpenCost gives."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"illegal window: {self.text}"


class SettingsError(EtlogError, ValueError):
    """Raised when a setting has a bad value; the message names the setting and what it must be."""


class ConfigError(EtlogError, ValueError):
    """Raised when the configuration file cannot be read or has mistakes; `problems` are all, a sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        more = len(self.problems) - 1
        return self.problems[0] + (f"; and {more} more, which 'etlog config check' lists" if more else "")


class StoreError(EtlogError):
    """Raised when the store did not do what was asked."""


class StoreUnavailable(StoreError):
    """Raised when the store cannot be reached, does not answer in time, or is not ready to serve."""


class StoreRefused(StoreError):
    """Raised when the store refused: a wrong password, a missing permission, a key of another type."""


class OtherContract(StoreError):
    """Raised when a log follows another contract than this part; the message names both and what to do."""
