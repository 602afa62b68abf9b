"""Exposure: who reaches what listens on an address of this machine."""

import logging
import socket
from ipaddress import ip_address

from etlog_events.settings import Settings

logger = logging.getLogger("etlog.api")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`, an address or a name."""
    try:
        found = socket.getaddrinfo(host, None)
    except OSError:  # it cannot be listened on either
        return False
    return all(ip_address(address[0]).is_loopback for *_, address in found)


def warn_if_open(settings: Settings) -> None:
    """Say so when everybody who reaches this machine may read the log."""
    if not settings.api_token and not is_loopback(settings.host):
        logger.warning(
            "Everybody who reaches port %d of %s may read the log: set ETLOG_API_TOKEN, or listen on 127.0.0.1",
            settings.port,
            settings.host,
            extra={"action": "open_to_all"},
        )
