"""The HTTP registry: the routes of its logs, and what stands before them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, tzinfo
from functools import partial

from etlog_events.settings import Settings
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from etlog_api.errors import UnexpectedErrors, answer_errors
from etlog_api.metrics import Measured
from etlog_api.middleware import SafeHeaders, TokenGuard, WithoutPrefix
from etlog_api.openapi import LOG_PATH
from etlog_api.registry import Registry
from etlog_api.routes import docs, log, logs, status, ui


class Application(FastAPI):
    """FastAPI's application, whose log is answered in front of it: FastAPI's own layers and its router take as long as
    all the rest of an answer that is made already."""

    front: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await self.front(scope, receive, send)

    def put_in_front(self, answering_log: ASGIApp) -> None:
        """Let `answering_log` have every request for the log, and nothing else."""
        others = super().__call__

        async def by_path(scope: Scope, receive: Receive, send: Send) -> None:
            is_log = scope["type"] == "http" and scope["path"] == LOG_PATH
            await (answering_log if is_log else others)(scope, receive, send)

        self.front = WithoutPrefix(by_path)


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
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    answer_errors(app)
    app.include_router(log.router(registry))
    app.include_router(logs.router(registry))
    app.include_router(status.router(registry))
    app.include_router(ui.router(settings))
    app.include_router(docs.router(app, tokens=bool(settings.api_token)))

    answering_log: ASGIApp = log.LogEndpoint(registry)
    for layer in before_every_answer(registry):
        app.add_middleware(layer)
        answering_log = layer(answering_log)
    app.put_in_front(answering_log)
    return app


def before_every_answer(registry: Registry) -> list[Callable[[ASGIApp], ASGIApp]]:
    """What stands before the routes, the innermost first."""
    layers: list[Callable[[ASGIApp], ASGIApp]] = [
        UnexpectedErrors,
        partial(Measured, metrics=registry.metrics),
        SafeHeaders,
    ]
    if registry.settings.api_token:
        layers.insert(0, partial(TokenGuard, tokens=registry.settings.tokens))
    return layers


def app_from_environment() -> FastAPI:
    """The service for the settings of the environment: what each worker process of uvicorn calls."""
    return create_app(Settings.from_environment())
