"""How the log and this process are: status, bug report, metrics, health."""

import asyncio
from functools import partial

import orjson
from etlog_events.errors import StoreError
from fastapi import APIRouter, Response

from etlog_api.bugreport import Evidence, bugreport, read_evidence
from etlog_api.description import answers
from etlog_api.query import Query
from etlog_api.response import json_response, unavailable
from etlog_api.service import Service
from etlog_api.status import Status


def router(service: Service) -> APIRouter:
    """The routes, for the log of `service`."""
    routes = APIRouter()

    async def status_or_none() -> Status | None:
        try:
            return await service.status()
        except StoreError:
            return None

    async def counters_or_none() -> dict[str, int] | None:
        try:
            return await service.counters()
        except StoreError:
            return None

    async def log_or_none() -> bytes | None:
        try:
            return service.cache.body(await service.reader.view(), Query()).text
        except StoreError:
            return None

    async def evidence_or_none() -> Evidence | None:
        try:
            return await service.connections.ask(partial(read_evidence, keys=service.settings.keys))
        except StoreError:
            return None

    @routes.get(
        "/model/etl/status",
        summary="How far the log is applied, what waits, and who is at work",
        responses=answers("The status.", 401, 503, schema="Status"),
    )
    async def status() -> Response:
        return json_response(b'{"code":200,"data":%b}' % orjson.dumps(await service.status()))

    @routes.get(
        "/model/etl/bugreport",
        summary="A zip of the log, the status, the settings without secrets, and what the store says of itself",
        responses=answers("The report.", 401, media="application/zip"),
        response_class=Response,
    )
    async def report() -> Response:
        log, found, evidence = await asyncio.gather(log_or_none(), status_or_none(), evidence_or_none())
        content = await asyncio.to_thread(bugreport, log, found, service.settings, evidence)
        name = f"etlog-bugreport-{service.clock(service.settings.timezone):%Y%m%dT%H%M%S}.zip"
        headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
        return Response(content, headers=headers, media_type="application/zip")

    @routes.get(
        "/metrics",
        summary="Metrics for Prometheus",
        responses=answers("The metrics.", 401, media="text/plain"),
        response_class=Response,
    )
    async def metrics() -> Response:
        found, counters = await asyncio.gather(status_or_none(), counters_or_none())
        text = service.metrics.text(found, counters, service.reader.age)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.head("/healthz", include_in_schema=False)
    @routes.get("/healthz", summary="Whether this process serves", responses=answers("It does.", schema="Health"))
    async def healthz() -> Response:
        return json_response(b'{"code":200,"data":"ok"}')

    @routes.head("/readyz", include_in_schema=False)
    @routes.get(
        "/readyz",
        summary="Whether this replica can answer: the store is there, and the log makes progress",
        responses=answers("It can.", 503, schema="Health"),
    )
    async def readyz() -> Response:
        problem = service.readiness.problem(await service.status())
        return unavailable(problem) if problem else json_response(b'{"code":200,"data":"ready"}')

    return routes
