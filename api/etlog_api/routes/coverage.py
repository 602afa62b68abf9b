"""`/model/etl/coverage`: the verdict on the sets of a log."""

from fastapi import APIRouter, Request, Response

from etlog_api.coverage_query import parse_coverage_query
from etlog_api.openapi import CATEGORY, LOG, SET_WINDOW, STAGE, STATE, UNCHANGED, answers
from etlog_api.openapi_coverage import COVERAGE_PATH, DESCRIPTION
from etlog_api.registry import Registry


def router(registry: Registry) -> APIRouter:
    """The route, for the logs of `registry`."""
    routes = APIRouter()
    kinds = registry.settings.kinds

    @routes.head(COVERAGE_PATH, include_in_schema=False)
    @routes.get(
        COVERAGE_PATH,
        summary="The verdict: which sets are complete, failed, missing, stopped or unusual",
        description=DESCRIPTION,
        responses={
            **answers("The verdict.", 400, 401, 404, 503, schema="Coverage"),
            304: UNCHANGED,
        },
        response_class=Response,
        openapi_extra={"parameters": [LOG, CATEGORY, STAGE, STATE, SET_WINDOW]},
    )
    async def coverage(request: Request) -> Response:
        log = registry.log(request)
        query = parse_coverage_query(request.query_params, kinds, registry.clock(log.zone))
        body = await log.coverage_cache.body(await log.coverage.view(), query)
        return await body.respond(request.headers.raw)

    return routes
