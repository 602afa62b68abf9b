"""The envelope of every answer in JSON, as in OpenCost: `{"code":200,"data":…}` or `{"code":404,"message":"…"}`."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

JSON = "application/json"


def enveloped(data: bytes, warning: str | None = None) -> bytes:
    """The body of an answer with `data`, which is JSON already, and with the `warning` if there is one."""
    more = b',"warning":' + orjson.dumps(warning) if warning else b""
    return b'{"code":200,"data":%b%b}' % (data, more)


def data_response(data: Any) -> Response:
    """The answer with `data`."""
    return Response(enveloped(orjson.dumps(data)), media_type=JSON)


def error_response(code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer of an error, which has no data."""
    return Response(orjson.dumps({"code": code, "message": message}), code, headers, JSON)
