"""The store: its address, the connection to it, its errors in etlog's words, and what endangers a log in it.

A client from here never retries by itself: each part knows better than the driver what is safe to send again. Where
the store is several nodes, behind sentinels or in a cluster, the client connects to the one that has the log at the
moment, and looks for it again whenever it connects.
"""

from etlog_events.store.aio import connect_async
from etlog_events.store.driver import ANSWER_TIMEOUT, BLOCK_MS, CONNECT_TIMEOUT, translated
from etlog_events.store.sync import connect
from etlog_events.store.url import shown

__all__ = ["ANSWER_TIMEOUT", "BLOCK_MS", "CONNECT_TIMEOUT", "connect", "connect_async", "shown", "translated"]
