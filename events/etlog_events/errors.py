"""The error tree of etlog. Catch `EtlogError` for all of them.

EtlogError
├── InvalidEvent        an event breaks a rule of the contract (also a ValueError)
├── IllegalWindow       a text is no window (also a ValueError)
├── SettingsError       a setting has a bad value (also a ValueError)
└── StoreError          the store did not do what was asked
    ├── StoreUnavailable    it cannot be reached, or is not ready
    ├── StoreRefused        it answered no: a password, a permission, a type
    └── NewerContract       its log follows a newer contract than this part knows
"""


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
    """Raised when a text is no window; `text` holds it, and the message is the one that OpenCost gives."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"illegal window: {self.text}"


class SettingsError(EtlogError, ValueError):
    """Raised when a setting has a bad value; the message names the setting and what it must be."""


class StoreError(EtlogError):
    """Raised when the store did not do what was asked."""


class StoreUnavailable(StoreError):
    """Raised when the store cannot be reached, does not answer in time, or is not ready to serve."""


class StoreRefused(StoreError):
    """Raised when the store answered no: a wrong password, a missing permission, a key of another type."""


class NewerContract(StoreError):
    """Raised when a log follows a newer contract than this part knows; the message names both and what to upgrade."""
