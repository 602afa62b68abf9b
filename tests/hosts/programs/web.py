"""A web application whose requests emit as many events as their query says."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from hosts.emitting import emit

if "EMIT_AT_LOAD" in os.environ:  # in the process that forks the workers
    emit(1)


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Emit, and hang where that is asked for, so that only signals end it."""
    emit(int(environ["QUERY_STRING"]))
    if environ["PATH_INFO"] == "/deaf":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGABRT])
    if environ["PATH_INFO"] != "/":
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]
