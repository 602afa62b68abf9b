"""`etlog serve`: the API as one or more processes on one port."""

import signal
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from etlog_events.settings import Settings

from etlog import logging_setup
from etlog.errors import CommandFailed
from etlog.exposure import warn_if_open
from etlog.ports import why_taken

if TYPE_CHECKING:
    from fastapi import FastAPI

#: Seconds that a request, or a client of the live log, gets to end when the service is stopped.
GRACE = 1


def app() -> "FastAPI":
    """What each worker process makes for itself, with its log lines in the shape of all others."""
    from etlog_api.app import create_app  # noqa: PLC0415  # the parent of workers starts them sooner without it

    settings = Settings.from_environment()
    logging_setup.configure(settings.log_level, settings.log_format)
    return create_app(settings)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files in PEM format: a certificate with those that lead to its authority, and its private key, which `password`
    decrypts. With `clients`, the authorities of those who may ask, a client must have a certificate, too."""

    certificate: Path
    key: Path
    password: str = field(default="", repr=False)
    clients: Path | None = None

    def check(self) -> None:
        """Raise `CommandFailed` unless the service can prove who it is with it: workers would fail again and again."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=self.password)
        except OSError as e:
            raise CommandFailed(
                f"{self.certificate} and {self.key} are no certificate in PEM format and its key, or the key has "
                f"another password: {_reason(e)}; name others with --ssl-certfile and --ssl-keyfile"
            ) from e
        try:
            if self.clients is not None:
                context.load_verify_locations(self.clients)
        except OSError as e:
            raise CommandFailed(
                f"{self.clients} holds no certificates in PEM format: {_reason(e)}; name another with --ssl-ca-certs"
            ) from e


def _reason(error: OSError) -> object:
    return error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror or error


def serve(settings: Settings, workers: int, root_path: str = "", tls: Certificate | None = None) -> None:
    """Serve on the host and port of `settings` until SIGTERM or SIGINT, by HTTPS if there is a certificate.

    Raises `CommandFailed` when the port cannot be listened on, or the certificate cannot be used.
    """
    if tls is not None:
        tls.check()
    host, port = settings.host, settings.port
    reason = why_taken(host, port)
    if reason is not None:
        raise CommandFailed(
            f"port {port} of {host} cannot be listened on: {reason}; name another with --port or ETLOG_PORT, "
            "or --host or ETLOG_HOST"
        )
    warn_if_open(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn, when done, raises it again
    uvicorn.run(
        f"{__name__}:app",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        root_path=root_path,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
        ssl_keyfile_password=tls.password if tls else None,
        ssl_ca_certs=str(tls.clients) if tls and tls.clients else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.clients else ssl.CERT_NONE,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
