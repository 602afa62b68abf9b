"""etlog, the event log for ETL pipelines. These are the names for code that publishes events."""

from etlog_events import (
    EtlogError,
    Event,
    InvalidEvent,
    Settings,
    SettingsError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from etlog_producer import Producer, ProducerClosed, Stage

__all__ = [
    "EtlogError",
    "Event",
    "InvalidEvent",
    "Producer",
    "ProducerClosed",
    "Settings",
    "SettingsError",
    "Stage",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
]
