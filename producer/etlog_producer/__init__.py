"""The library that an ETL stage imports to publish its events: `Producer`."""

from etlog_producer.producer import Producer, ProducerClosed
from etlog_producer.stage import Stage

__all__ = ["Producer", "ProducerClosed", "Stage"]
