"""Log lines on standard error: a sentence for people, or JSON with all fields for machines."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from etlog_events import timestamps

#: Attributes that every log record has; the others came in through `extra`.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


#: The log that this thread works on, if the process works on several.
_log: ContextVar[str | None] = ContextVar("log", default=None)


@contextmanager
def about(log: str | None) -> Iterator[None]:
    """Name the log `log` in every line of this thread, while the block lasts."""
    before = _log.set(log)
    try:
        yield
    finally:
        _log.reset(before)


def _note_log(record: logging.LogRecord) -> bool:
    if (log := _log.get()) is not None:
        record.log = log
    return True


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, the log if the process works on several, message."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        if hasattr(record, "log"):
            record.message = f"{record.log}: {record.message}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, and the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for `record`."""
        line: dict[str, Any] = {
            "time": timestamps.from_nanoseconds(int(record.created * 1e9)),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)  # the standard library accepts whatever a message holds


def configure(level: str, shape: str) -> None:
    """Send all log lines of this process to standard error; `shape` is `text` or `json`."""
    handler = logging.StreamHandler()
    handler.addFilter(_note_log)
    if shape == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
