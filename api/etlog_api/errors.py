"""The errors of the API, and the answer that each error is. This is the only place that knows it."""

from etlog_events.errors import EtlogError, IllegalWindow, StoreError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from etlog_api.envelope import error_response

#: Seconds after which a client may ask again while the store is away.
RETRY_AFTER = "5"


class BadQuery(EtlogError, ValueError):
    """Raised when a parameter of a request cannot be understood; the message is for the caller."""


class UnknownLog(EtlogError, LookupError):
    """Raised when a request names a log that is not served, or not open to its caller: both look the same to them."""


def answer_to(error: Exception) -> Response | None:
    """The answer that an expected `error` is, with no more than its sentence. None for a bug in etlog."""
    match error:
        case HTTPException():
            return error_response(error.status_code, error.detail, error.headers)
        case StoreError():
            return unavailable(str(error))
        case UnknownLog():
            return error_response(404, str(error))
        case BadQuery() | IllegalWindow():
            return error_response(400, str(error))
    return None


def unavailable(problem: str) -> Response:
    """The answer of a replica that cannot serve at present, with the time after which to ask again."""
    return error_response(503, problem, {"Retry-After": RETRY_AFTER})
