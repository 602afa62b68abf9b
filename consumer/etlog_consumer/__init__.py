"""The process that applies the event stream to the lists and counters of a log."""

from etlog_consumer.apply import Target
from etlog_consumer.consumer import Consumer
from etlog_consumer.fleet import Fleet

__all__ = ["Consumer", "Fleet", "Target"]
