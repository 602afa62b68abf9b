"""The path prefix under which a proxy offers the service, whether the proxy takes it off or passes it on."""

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class WithoutPrefix:
    """Takes the server's `root_path` off every path, so that guards and routes see the same paths with and without it.

    Nothing in an answer needs the prefix: all links are relative.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        prefix = scope.get("root_path", "").rstrip("/")
        if not prefix or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = _without(scope["path"], prefix)  # uvicorn has put it there, as ASGI demands
        if path == prefix:  # relative links need the slash; this one too, so no host or scheme can be wrong
            await RedirectResponse(prefix.rpartition("/")[2] + "/")(scope, receive, send)
            return
        path = _without(path, prefix)
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await self._app(scope, receive, send)


def _without(path: str, prefix: str) -> str:
    return path[len(prefix) :] if path.startswith(prefix + "/") else path
