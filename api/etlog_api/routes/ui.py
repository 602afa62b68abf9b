"""The page: static files, and what it must know of the settings."""

import gzip
from hashlib import blake2b
from importlib.resources import files

import orjson
from etlog_events.kinds import ACTIONS
from etlog_events.settings import Settings
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

#: A browser may keep a file, if it asks each time whether it still holds.
CACHE_CONTROL = "no-cache"

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}


def router(settings: Settings) -> APIRouter:
    """The routes. The files are read once: they change with the installed version only."""
    routes = APIRouter(include_in_schema=False)
    folder = files("etlog_api") / "static"
    content = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.split(".")[-1] in MEDIA_TYPES}
    content["page.json"] = _page_settings(settings)
    packed = {name: gzip.compress(data, mtime=0) for name, data in content.items()}
    tags = {name: f'W/"{blake2b(data, digest_size=12).hexdigest()}"' for name, data in content.items()}

    def respond(request: Request, name: str) -> Response:
        if name not in content:
            raise HTTPException(404, "Not Found")
        headers = {"ETag": tags[name], "Cache-Control": CACHE_CONTROL, "Vary": "Accept-Encoding"}
        if tags[name] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        data = content[name]
        if "gzip" in request.headers.get("accept-encoding", ""):
            data, headers["Content-Encoding"] = packed[name], "gzip"
        return Response(data, headers=headers, media_type=MEDIA_TYPES[name.rsplit(".", maxsplit=1)[-1]])

    @routes.head("/")
    @routes.get("/")
    async def index(request: Request) -> Response:
        return respond(request, "index.html")

    @routes.head("/static/{name}")
    @routes.get("/static/{name}")
    async def static(request: Request, name: str) -> Response:
        return respond(request, name)

    return routes


def _page_settings(settings: Settings) -> bytes:
    """What the page cannot see in the events: how many of them a list holds, in which zone days begin, the categories
    and the actions. Open to anyone."""
    zone = getattr(settings.timezone, "key", None) or str(settings.timezone).removeprefix("UTC") or "UTC"
    actions = [{"name": action.name, "is_error": action.is_error} for action in ACTIONS]
    categories = dict(settings.kinds.categories)
    return orjson.dumps({"cap": settings.cap, "timezone": zone, "categories": categories, "actions": actions})
