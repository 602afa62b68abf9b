"""etlog, the event log for ETL pipelines. These are the names for code that publishes events."""

from etlog_events.errors import EtlogError, InvalidEvent, SettingsError, StoreError, StoreRefused, StoreUnavailable
from etlog_events.event import Event
from etlog_events.settings import Settings
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
