"""The page: static files, and what it must know of the settings."""

from importlib.resources import files

import orjson
from etlog_events.kinds import ACTIONS
from etlog_events.settings import Settings
from etlog_events.windows import spell_timezone
from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from etlog_api.negotiation import Body

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def router(settings: Settings) -> APIRouter:
    """The routes. The files are read once: they only change with the installed version."""
    routes = APIRouter(include_in_schema=False)
    folder = files("etlog_api") / "static"
    bodies = {
        file.name: Body(file.read_bytes(), MEDIA_TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in MEDIA_TYPES
    }
    bodies["settings.js"] = Body(b"export default " + _page_settings(settings), MEDIA_TYPES["js"])

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        return await bodies["index.html"].respond(request.headers.raw)

    @routes.api_route("/static/{name}", methods=["GET", "HEAD"])
    async def static(request: Request, name: str) -> Response:
        if name not in bodies:
            raise HTTPException(404, "Not Found")
        return await bodies[name].respond(request.headers.raw)

    return routes


def _page_settings(settings: Settings) -> bytes:
    """What the page cannot see in the events: how many of them a list holds, in which zone days begin, the categories
    and the actions; as JSON. Open to anyone."""
    actions = [{"name": action.name, "is_error": action.is_error} for action in ACTIONS]
    categories = dict(settings.kinds.categories)
    return orjson.dumps(
        {
            "cap": settings.cap,
            "timezone": spell_timezone(settings.timezone),
            "categories": categories,
            "actions": actions,
        }
    )
