"""Parts as processes of their own, which can be stopped and killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TESTS = Path(__file__).parents[1]


@contextmanager
def consumer_process(url: str, log: str, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A consumer on `log`; it is killed at the end if it still runs. SIGTERM stops it cleanly."""
    process = subprocess.Popen([sys.executable, str(_TESTS / "consumer" / "run_consumer.py"), url, log, *options])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
