"""Ports of this machine."""

import socket


def why_taken(host: str, port: int) -> str | None:
    """Why `port` cannot be listened on, in the system's words; None if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            return e.strerror
        return None
