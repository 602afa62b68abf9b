"""`etlog serve`: the API as one or more processes on one port."""

import signal
import sys
from typing import TYPE_CHECKING

import uvicorn
from etlog_events.settings import Settings

from etlog import logs
from etlog.errors import CommandFailed
from etlog.ports import why_taken

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Seconds that a request, or a client of the live log, gets to end when the service is stopped.
GRACE = 1


def app() -> "FastAPI":
    """What each worker process makes for itself, with its log lines in the shape of all others."""
    from etlog_api.app import create_app  # noqa: PLC0415  # the parent of workers starts them sooner without it

    settings = Settings.from_environment()
    logs.configure(settings.log_level, settings.log_format)
    return create_app(settings)


def serve(host: str, port: int, workers: int, root_path: str = "") -> None:
    """Serve until SIGTERM or SIGINT. Raises `CommandFailed` when the port cannot be listened on."""
    reason = why_taken(host, port)
    if reason is not None:
        raise CommandFailed(
            f"port {port} of {host} cannot be listened on: {reason}; name another with --port or ETLOG_PORT, "
            "or --host or ETLOG_HOST"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn, when done, raises it again
    uvicorn.run(
        f"{__name__}:app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        root_path=root_path,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
