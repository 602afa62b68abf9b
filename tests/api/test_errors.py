"""Which answer each error is."""

import orjson
import pytest
from etlog_api.errors import BadQuery, UnknownLog, answer_to
from etlog_events.errors import IllegalWindow, OtherContract, StoreError, StoreRefused, StoreUnavailable
from starlette.exceptions import HTTPException


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BadQuery("limit must be more"), 400, "limit must be more"),
        (IllegalWindow("7y"), 400, "illegal window: 7y"),
        (UnknownLog("unknown log 'x'"), 404, "unknown log 'x'"),
        (HTTPException(404), 404, "Not Found"),
        (HTTPException(405), 405, "Method Not Allowed"),
    ],
)
def test_what_the_caller_can_change_is_told(error: Exception, code: int, message: str) -> None:
    """In the envelope, with a code that says whose turn it is."""
    answer = answer_to(error)
    assert answer is not None
    assert answer.status_code == code
    assert answer.headers["Content-Type"] == "application/json"
    assert orjson.loads(answer.body) == {"code": code, "message": message}


@pytest.mark.parametrize("kind", [StoreError, StoreUnavailable, StoreRefused, OtherContract])
def test_a_store_that_fails_may_be_asked_again(kind: type[StoreError]) -> None:
    """After a while, which is in the answer."""
    answer = answer_to(kind("no answer"))
    assert answer is not None
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert orjson.loads(answer.body) == {"code": 503, "message": "no answer"}


def test_headers_of_an_error_are_kept() -> None:
    """Such as how to send a token."""
    answer = answer_to(HTTPException(401, "this token is not valid", {"WWW-Authenticate": "Bearer"}))
    assert answer is not None
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("error", [ValueError("x"), LookupError("x"), OSError("x"), RuntimeError("x")])
def test_a_bug_is_not_an_answer(error: Exception) -> None:
    """An error that is not in the tree of etlog must not be shown to the caller."""
    assert answer_to(error) is None
