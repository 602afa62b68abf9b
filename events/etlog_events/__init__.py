"""The contract between the parts of etlog: the event, its kinds, key names, settings, errors, the store."""

from etlog_events.errors import (
    EtlogError,
    InvalidEvent,
    OtherContract,
    SettingsError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.settings import Settings

__all__ = [
    "EtlogError",
    "Event",
    "InvalidEvent",
    "Keys",
    "Kinds",
    "OtherContract",
    "Settings",
    "SettingsError",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
]
