"""`etlog serve`: the API as one or more processes on one port."""

import socket

import uvicorn

from etlog.errors import CommandFailed

#: Seconds that a request, or a client of the live log, gets to end when the service is stopped.
GRACE = 1

#: What each worker process makes for itself from the environment.
APP = "etlog_api.app:app_from_environment"


def is_free(host: str, port: int) -> bool:
    """Whether `port` can be listened on."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def serve(host: str, port: int, workers: int, root_path: str = "") -> None:
    """Serve until SIGTERM or SIGINT. Raises `CommandFailed` when the port cannot be listened on."""
    if not is_free(host, port):
        raise CommandFailed(f"{host}:{port} cannot be listened on, most likely it is in use; name another with --port")
    uvicorn.run(
        APP,
        factory=True,
        host=host,
        port=port,
        workers=workers,
        root_path=root_path,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE,
    )
