"""`etlog serve`: the options of the API."""

import re
from pathlib import Path
from typing import Annotated

import typer

from etlog import logging_setup
from etlog.errors import CommandFailed
from etlog.options import LogName, RedisUrl, settings_of


def serve(
    host: Annotated[str | None, typer.Option(metavar="HOST", help="Address to listen on.  [env: ETLOG_HOST]")] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port to listen on.  [env: ETLOG_PORT]")] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Processes that answer on the port.")] = 1,
    root_path: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="Path under which a proxy offers the service, such as /etl.", show_default=False
        ),
    ] = "",
    ssl_certfile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answer by HTTPS, with this certificate (PEM).")
    ] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(metavar="FILE", help="Private key of the certificate.")] = None,
    ssl_keyfile_password: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            envvar="ETLOG_SSL_KEYFILE_PASSWORD",
            help="Decrypts the key; others do not see it in the environment.  [env: ETLOG_SSL_KEYFILE_PASSWORD]",
            show_default=False,
            show_envvar=False,
        ),
    ] = "",
    ssl_ca_certs: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Want a certificate of every client, from one of these authorities (PEM)."),
    ] = None,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Answer queries over HTTP, until stopped. Start as many as you like: every replica gives the same answer.

    \b
    etlog serve --port 9090 --workers 2
    etlog serve --ssl-certfile api.pem --ssl-keyfile api.key
    curl 'http://127.0.0.1:9090/model/etl/log?kind=Saved&window=today'
    """
    from etlog.serve import Certificate  # noqa: PLC0415
    from etlog.serve import serve as answer  # noqa: PLC0415

    if (ssl_certfile is None) != (ssl_keyfile is None):
        raise CommandFailed("give --ssl-certfile and --ssl-keyfile together; see 'etlog serve --help'")
    if ssl_ca_certs is not None and ssl_certfile is None:
        raise CommandFailed("--ssl-ca-certs needs --ssl-certfile and --ssl-keyfile; see 'etlog serve --help'")
    tls = None
    if ssl_certfile and ssl_keyfile:
        tls = Certificate(ssl_certfile, ssl_keyfile, ssl_keyfile_password, ssl_ca_certs)
    settings = settings_of(redis_url=redis_url, name=log, host=host, port=port)
    logging_setup.configure(settings.log_level, settings.log_format)
    answer(settings, workers, _prefix(root_path), tls)


def _prefix(root_path: str) -> str:
    prefix = root_path.strip("/")
    if not re.fullmatch(r"[\w.~/-]*", prefix, re.ASCII) or "//" in prefix:
        raise CommandFailed(f"--root-path must be a path such as /etl, not {root_path!r}")
    return f"/{prefix}" if prefix else ""
