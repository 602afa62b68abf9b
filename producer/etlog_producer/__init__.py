"""The library that an ETL stage imports to publish its events: `Producer`."""

from etlog_producer.errors import AcksUnavailable, ProducerClosed, SpoolFull
from etlog_producer.producer import Producer
from etlog_producer.stage import Stage
from etlog_producer.stats import Stats

__all__ = ["AcksUnavailable", "Producer", "ProducerClosed", "SpoolFull", "Stage", "Stats"]
