"""The HTTP service: its routes, and the layers in front of all of them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, tzinfo

from etlog_events.settings import Settings
from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from etlog_api.middleware import Errors, Measured, SafeHeaders, TokenGuard, WithoutPrefix
from etlog_api.registry import Registry
from etlog_api.routes import coverage, docs, live, log, logs, status, ui


class Application(FastAPI):
    """FastAPI with no layers but those that it is given.

    Its own ones handle errors a second time, outside of the safe headers, and ask at every request whether it is to be
    traced; together they take as long as an answer from the cache.
    """

    __call__ = Starlette.__call__

    def build_middleware_stack(self) -> ASGIApp:
        """The layers around the router."""
        app: ASGIApp = AsyncExitStackMiddleware(self.router)  # without it, FastAPI's routes refuse to work
        for layer, arguments, options in reversed(self.user_middleware):
            app = layer(app, *arguments, **options)
        return app


def create_app(settings: Settings, clock: Callable[[tzinfo], datetime] = datetime.now) -> FastAPI:
    """The service for the logs of `settings`. Nothing is sent to the store before the first request."""
    registry = Registry(settings, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await registry.close()

    app = Application(
        title="etlog",
        description="The event log for ETL pipelines.",
        version="0.1.0",
        lifespan=lifespan,
        middleware=_layers(registry),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.router.routes.append(log.LogRoute(registry))  # the first, so that no other is tried before it
    app.include_router(live.router(registry))
    app.include_router(coverage.router(registry))
    app.include_router(logs.router(registry))
    app.include_router(status.router(registry))
    app.include_router(ui.router(settings))
    app.include_router(docs.router(app, tokens=bool(settings.api_token)))
    return app


def _layers(registry: Registry) -> list[Middleware]:
    """What a request passes on its way to a route, in this order."""
    layers = [
        Middleware(SafeHeaders),
        Middleware(WithoutPrefix),
        Middleware(Measured, metrics=registry.metrics),
        Middleware(Errors),
    ]
    if registry.settings.api_token:
        layers.append(Middleware(TokenGuard, tokens=registry.settings.tokens))
    return layers
