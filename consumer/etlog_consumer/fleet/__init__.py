"""Many logs, applied by many processes that share them."""

from etlog_consumer.fleet.fleet import Fleet

__all__ = ["Fleet"]
