"""The ids of producers and consumers in a log, and the tokens of processes."""

import os
import re
import socket

#: Characters of the host's name in an id.
HOST = 100


def new_id() -> str:
    """Host, process and 128 random bits. Two never coincide, whatever forks, restarts or shares a host's name."""
    host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:HOST] or "host"
    return f"{host}-{os.getpid()}-{os.urandom(16).hex()}"


def new_token() -> str:
    """64 random bits, by which the store tells a process from another one that goes by the same id."""
    return os.urandom(8).hex()
