"""What listens on an address of this machine: whether it can, and who can reach it."""

import socket
from ipaddress import ip_address


def why_taken(host: str, port: int) -> str | None:
    """Why nothing can listen on `port`, in the system's words; None if it can."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            return e.strerror
        return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens on `host`, an address or a name."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:  # nothing can listen on it either
        return False
    return all(ip_address(address[0]).is_loopback for *_, address in found)
