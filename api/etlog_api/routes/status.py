"""`/model/etl/status`, `/model/etl/bugreport`, `/metrics`, `/healthz`, `/readyz`: how the logs and this process are."""

import asyncio
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from etlog_api.bugreport import bugreport
from etlog_api.envelope import data_response
from etlog_api.errors import unavailable
from etlog_api.openapi import LOG, answers
from etlog_api.registry import Registry


def router(registry: Registry) -> APIRouter:
    """The routes, for the logs of `registry`."""
    routes = APIRouter()

    @routes.get(
        "/model/etl/status",
        summary="How far the log is applied, what waits, and which consumer is active",
        responses=answers("The status.", 400, 401, 404, 503, schema="Status"),
        openapi_extra={"parameters": [LOG]},
    )
    async def status(request: Request) -> Response:
        return data_response(await registry.log(request).status())

    @routes.get(
        "/model/etl/bugreport",
        summary="A zip of the log, its verdict and status, the settings without secrets, and what the store tells",
        responses=answers("The report.", 400, 401, 404, media="application/zip"),
        response_class=Response,
        openapi_extra={"parameters": [LOG]},
    )
    async def report(request: Request) -> Response:
        log = registry.log(request)
        text, coverage, found, evidence = await asyncio.gather(
            log.text_or_none(), log.coverage_or_none(), log.status_or_none(), log.evidence_or_none()
        )
        settings, several = registry.settings, ""
        if settings.names:  # a token that opens some logs must not tell the names of others
            names = registry.names(request)
            settings = replace(settings, name=registry.default(names) or log.name, names=tuple(names))
            several = f"{log.name}-"
        content = await asyncio.to_thread(bugreport, text, coverage, found, settings, evidence)
        name = f"etlog-bugreport-{several}{registry.clock(registry.settings.timezone):%Y%m%dT%H%M%S}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(content, headers=headers, media_type="application/zip")

    @routes.get(
        "/metrics",
        summary="Metrics for Prometheus",
        responses=answers("The metrics.", 401, media="text/plain"),
        response_class=Response,
    )
    async def metrics(request: Request) -> Response:
        names = registry.names(request)
        text = registry.metrics.text(await registry.figures(names), registry.ages(names))
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.head("/healthz", include_in_schema=False)
    @routes.get("/healthz", summary="Whether this process is alive", responses=answers("It is.", schema="Health"))
    async def healthz() -> Response:
        return data_response("ok")

    @routes.head("/readyz", include_in_schema=False)
    @routes.get(
        "/readyz",
        summary="Whether this replica can answer: the store is there, and a log makes progress",
        responses=answers("It can.", 503, schema="Health"),
    )
    async def readyz() -> Response:
        problem = await registry.problem()
        return unavailable(problem) if problem else data_response("ready")

    return routes
