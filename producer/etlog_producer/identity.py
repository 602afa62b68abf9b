"""The id of a producer: which process on which host wrote an event."""

import os
import re
import socket


def new_id() -> str:
    """Host, process and a random part. Two producers never share one, whatever forks or restarts."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "host"
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
