"""The library that an ETL stage imports to publish its events: `Producer`."""

from etlog_producer.delivery import Stats
from etlog_producer.errors import AcksUnavailable, ProducerClosed, SpoolFull
from etlog_producer.producer import Producer
from etlog_producer.stage import Stage

__all__ = ["AcksUnavailable", "Producer", "ProducerClosed", "SpoolFull", "Stage", "Stats"]
