"""`etlog serve`: the API as one or more processes on one port."""

import logging
import os
import re
import signal
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn
from etlog_events import config
from etlog_events.settings import Settings

from etlog import logging_setup
from etlog.errors import CommandFailed
from etlog.listening import is_loopback, why_taken
from etlog.options import LogName, RedisUrl, new_app, settings_of, variables_of

if TYPE_CHECKING:
    from fastapi import FastAPI

app = new_app()
logger = logging.getLogger("etlog.api")

#: Seconds for an open request, or a client of the live log, to end when the service is stopped.
GRACE = 1


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files: a certificate with its chain, and its private key, which `password` decrypts.

    With `clients`, the certificates of authorities, each client must present a certificate from one of them.
    """

    certificate: Path
    key: Path
    password: str = field(default="", repr=False)
    clients: Path | None = None

    def check(self) -> None:
        """Raise `CommandFailed` unless a server can start with it: workers would fail again and again."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key, password=self.password)
        except OSError as e:
            raise CommandFailed(
                f"{self.certificate} and {self.key} are not a PEM certificate and its key, or the key has another "
                f"password: {_reason(e)}; name others with --ssl-certfile and --ssl-keyfile"
            ) from e
        try:
            if self.clients is not None:
                context.load_verify_locations(self.clients)
        except OSError as e:
            raise CommandFailed(
                f"{self.clients} holds no PEM certificates: {_reason(e)}; name another file with --ssl-ca-certs"
            ) from e


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on.  [env: ETLOG_HOST]")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port to listen on.  [env: ETLOG_PORT]")] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Number of processes on the port.")] = 1,
    root_path: Annotated[
        str,
        typer.Option(metavar="PATH", help="Path under which a proxy serves the API, such as /etl.", show_default=False),
    ] = "",
    ssl_certfile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Serve HTTPS, with this certificate (PEM).")
    ] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(metavar="FILE", help="Private key of the certificate.")] = None,
    ssl_keyfile_password: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            envvar="ETLOG_SSL_KEYFILE_PASSWORD",
            help="Decrypts the key. Prefer the variable: other users can see options.  "
            "[env: ETLOG_SSL_KEYFILE_PASSWORD]",
            show_default=False,
            show_envvar=False,
        ),
    ] = "",
    ssl_ca_certs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Require client certificates issued by one of these authorities (PEM)."),
    ] = None,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Serve the API and its page, until stopped. Start as many as you like: every replica gives the same answer.

    \b
    etlog serve --port 9090 --workers 2
    etlog serve --ssl-certfile api.pem --ssl-keyfile api.key
    curl 'http://127.0.0.1:9090/model/etl/log?kind=Saved&window=today'
    """
    if (ssl_certfile is None) != (ssl_keyfile is None):
        raise CommandFailed("give --ssl-certfile and --ssl-keyfile together; see 'etlog serve --help'")
    if ssl_ca_certs is not None and ssl_certfile is None:
        raise CommandFailed("--ssl-ca-certs requires --ssl-certfile and --ssl-keyfile; see 'etlog serve --help'")
    tls = None
    if ssl_certfile and ssl_keyfile:
        tls = Certificate(ssl_certfile, ssl_keyfile, ssl_keyfile_password, ssl_ca_certs)
    options = {"redis_url": redis_url, "name": log, "host": host, "port": port}
    settings = settings_of(**options)
    os.environ.update(variables_of(**options))  # where `worker` finds them
    logging_setup.configure(settings.log_level, settings.log_format)
    run(settings, workers, _prefix(root_path), tls)


def run(settings: Settings, workers: int, root_path: str = "", tls: Certificate | None = None) -> None:
    """Serve on the host and port of `settings` until SIGTERM or SIGINT; over HTTPS with a certificate.

    Raises `ConfigError` for a mistake in the configuration file, where workers would fail again and again, and
    `CommandFailed` when nothing can listen on the port, or the certificate cannot be used.
    """
    config.load(settings)
    if tls is not None:
        tls.check()
    host, port = settings.host, settings.port
    reason = why_taken(host, port)
    if reason is not None:
        raise CommandFailed(
            f"cannot listen on {host}:{port}: {reason}; choose another with --port or ETLOG_PORT, --host or ETLOG_HOST"
        )
    if not settings.api_token and not is_loopback(host):
        logger.warning(
            "Anyone who can reach port %d of %s can read the log: set ETLOG_API_TOKEN, or listen on 127.0.0.1",
            *(port, host),
            extra={"action": "open_to_all"},
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn, when done, raises it again
    uvicorn.run(
        f"{__name__}:worker",
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


def worker() -> "FastAPI":
    """The application of one process: uvicorn calls it in each worker, whose settings come from the environment."""
    from etlog_api.app import create_app  # noqa: PLC0415 - the parent of the workers starts them sooner without it

    settings = settings_of()
    logging_setup.configure(settings.log_level, settings.log_format)
    return create_app(settings)


def _prefix(root_path: str) -> str:
    prefix = root_path.strip("/")
    if not re.fullmatch(r"[\w.~/-]*", prefix, re.ASCII) or "//" in prefix:
        raise CommandFailed(f"--root-path must be a path such as /etl, not {root_path!r}")
    return f"/{prefix}" if prefix else ""


def _reason(error: OSError) -> object:
    return error.reason if isinstance(error, ssl.SSLError) and error.reason else error.strerror or error
