"""The ids of producers and consumers in a log."""

import os
import re
import socket


def new_id() -> str:
    """Host, process and a random part, such as `host-17-9f8e7d6c`. Two never coincide, whatever forks or restarts."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "host"
    return f"{host}-{os.getpid()}-{os.urandom(4).hex()}"
