"""The HTTP service: the routes of its logs, and what stands before them."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, tzinfo

from etlog_events.settings import Settings
from fastapi import FastAPI

from etlog_api.guard import SafeHeaders, TokenGuard
from etlog_api.metrics import Measured
from etlog_api.prefix import WithoutPrefix
from etlog_api.response import UnexpectedErrors, answer_errors
from etlog_api.routes import docs, log, logs, page, status
from etlog_api.service import Service


def create_app(settings: Settings, clock: Callable[[tzinfo], datetime] = datetime.now) -> FastAPI:
    """The service for the logs of `settings`. Nothing is sent to the store before the first request."""
    service = Service(settings, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
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
    app.routes.append(log.route(service))
    app.include_router(log.router(service))
    app.include_router(logs.router(service))
    app.include_router(status.router(service))
    app.include_router(page.router(settings))
    app.include_router(docs.router(app, tokens=bool(settings.api_token)))

    if settings.api_token:
        app.add_middleware(TokenGuard, tokens=settings.tokens)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(Measured, metrics=service.metrics)
    app.add_middleware(SafeHeaders)
    app.add_middleware(WithoutPrefix)
    return app


def app_from_environment() -> FastAPI:
    """The service for the settings of the environment: what each worker process of uvicorn calls."""
    return create_app(Settings.from_environment())
