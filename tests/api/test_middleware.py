"""Data requires a token where one is set, whatever way a request takes; and every answer keeps browsers safe."""

import json
import logging
import socket
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from etlog_api import middleware
from etlog_api.app import create_app
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from fastapi.responses import StreamingResponse
from starlette.applications import Starlette
from starlette.routing import Mount
from support.apis import Api, Fill, Serving, serve
from support.samples import saved

TOKENS = ("first-token-of-two", "second-token-of-two")
DATA = [
    "/model/etl/log",
    "/model/etl/logs",
    "/model/etl/log/stream",
    "/model/etl/status",
    "/model/etl/bugreport",
    "/metrics",
]
OPEN = ["/healthz", "/readyz", "/docs", "/docs.css", "/openapi.json"]


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def test_data_is_for_those_with_a_token(serving: Serving) -> None:
    """Any of the tokens will do; health and descriptions are open to anyone."""
    with serving(api_token=TOKENS) as api:
        for path in DATA:
            for headers in (
                {},
                bearer("no-token-of-ours"),
                bearer(TOKENS[0] + "x"),
                bearer(TOKENS[0][:-1]),
                bearer(",".join(TOKENS)),
                bearer("tökens-ürgend-einer"),
                {"Authorization": TOKENS[0]},
                {"Authorization": f"Basic {TOKENS[0]}"},
                {"X-Authorization": f"Bearer {TOKENS[0]}"},
            ):
                encoded = {name: value.encode() for name, value in headers.items()}
                answer = api.get(path, headers=encoded)
                assert answer.status_code == 401
                assert answer.json()["code"] == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert answer.headers["Content-Type"] == "application/json"
        assert api.get().json()["message"] == "a token is required; send it as 'Authorization: Bearer <token>'"
        assert api.get(headers=bearer("x")).json()["message"] == "this token is not valid"
        for token in TOKENS:
            for header in (f"Bearer {token}", f"bearer {token}", f"BEARER   {token}"):
                assert api.get(headers={"Authorization": header}).status_code == 200
        for path in OPEN:
            assert api.get(path).status_code == 200


#: Ways to ask for the log; `{}` stands for a prefix under which it is served.
TRICKS = [
    "GET {}/model/etl/log",
    "GET {}//model/etl/log",
    "GET //{}/model/etl/log",
    "GET {}/MODEL/etl/log",
    "GET {}/%2Fmodel/etl/log",
    "GET {}/model%2Fetl%2Flog",
    "GET {}/%6dodel/etl/log",
    "GET {}/./model/etl/log",
    "GET {}/x/../model/etl/log",
    "GET {}/model/etl/log/",
    "GET {}/model/etl/log/stream",
    "GET {}/model/etl/log;x=1",
    "GET {}/model/etl/log?x=/healthz",
    "GET {}/healthz/../model/etl/log",
    "GET {}/metrics/",
    "GET http://healthz{}/model/etl/log",
    "GET {}/model/etl/log%00",
    "GET {}\\model\\etl\\log",
    "HEAD {}/model/etl/log",
    "OPTIONS {}/model/etl/log",
    "POST {}/model/etl/log",
    "get {}/model/etl/log",
    "QUERY {}/model/etl/log",
    "GET /model/etl/log",
    "GET {}{}/model/etl/log",
]


def mounted(inner: Any, prefix: str) -> Any:
    """Another application, in which `inner` is mounted."""
    return Starlette(routes=[Mount(prefix, inner)], lifespan=lambda _: inner.router.lifespan_context(inner))


@pytest.mark.parametrize("served", ["plain", "behind a proxy that strips a prefix", "mounted under a prefix"])
def test_no_path_leads_past_the_token(store_url: str, keys: Keys, fill: Fill, served: str) -> None:
    """Whatever path the router takes for the log requires it."""
    fill([saved()])
    app: Any = create_app(Settings(redis_url=store_url, name=keys.name, api_token=TOKENS))
    prefix, root_path = "", "/prefix" if "proxy" in served else ""
    if "mounted" in served:
        prefix = "/prefix"
        app = mounted(app, prefix)
    with serve(app, root_path=root_path) as api:
        seen = {trick: exchange(api, trick.replace("{}", prefix)) for trick in TRICKS}
        assert api.get(f"{prefix}/model/etl/log", headers=bearer(TOKENS[0])).status_code == 200

    for trick, answer in seen.items():
        assert answer.split()[1] in {b"400", b"401", b"404", b"405"}, trick
        assert b"AllocationSet" not in answer, trick
    assert seen[TRICKS[0]].split()[1] == b"401"


def exchange(api: Api, request: str) -> bytes:
    """All that comes back on a connection for one request, spelled as it is."""
    parts = urlsplit(api.url)
    with socket.create_connection((str(parts.hostname), parts.port)) as connection:
        connection.sendall(f"{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_every_answer_keeps_browsers_safe(serving: Serving, fill: Fill, caplog: pytest.LogCaptureFixture) -> None:
    """Errors too, even unexpected ones."""
    fill([saved()])
    with serving(api_token=TOKENS) as api:

        @api.app.get("/boom")
        async def boom() -> None:
            raise ValueError("secret detail")

        headers = bearer(TOKENS[0])
        answers = [
            api.get(path, headers=headers) for path in [*DATA, *OPEN, "/nothing", "/boom"] if "stream" not in path
        ]
        answers += [
            api.get(),
            api.get(headers={**headers, "If-None-Match": "*"}),
            api.get(headers=headers, params={"limit": "x"}),
            api.client.delete("/model/etl/log", headers=headers),
            api.client.head("/model/etl/log", headers=headers),
        ]
        with api.client.stream("GET", "/model/etl/log/stream", headers=headers) as stream:
            answers.append(stream)
        assert {answer.status_code for answer in answers} == {200, 304, 400, 401, 404, 405, 500}
        for answer in answers:
            for name, value in middleware.HEADERS.items():
                assert answer.headers.get_list(name) == [value]

        metrics = api.get("/metrics", headers=headers).text
    assert 'etlog_requests_total{route="/boom",status="500"} 1.0' in metrics
    assert "secret detail" in caplog.text


def test_an_unexpected_error_is_told_without_its_trace(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """The trace is in the log, once. What has begun is broken off."""

    @api.app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("secret detail")

    @api.app.get("/breaks")
    async def breaks() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            yield b"begun"
            raise RuntimeError("secret detail")

        return StreamingResponse(pieces())

    with caplog.at_level(logging.ERROR):
        answer = api.get("/boom")
    assert (answer.status_code, answer.headers["Content-Type"]) == (500, "application/json")
    assert answer.json() == {"code": 500, "message": "internal error; the service's own log says more"}
    assert [record.name for record in caplog.records] == ["etlog.api"]
    assert caplog.text.count("Traceback") == 1

    broken = exchange(api, "GET /breaks")
    assert b"begun" in broken
    assert b"secret" not in broken
    assert not broken.endswith(b"0\r\n\r\n")


def test_what_does_not_exist_is_told_in_the_envelope(api: Api) -> None:
    """A wrong path, a wrong method."""
    for method, path, code in (("GET", "/model/etl/lists", 404), ("GET", "/healthz/", 404), ("PUT", "/healthz", 405)):
        answer = api.client.request(method, path)
        assert answer.status_code == code
        assert answer.json()["code"] == code
        assert json.loads(answer.content)["message"]
    assert "GET" in api.client.put("/model/etl/log").headers["Allow"]


def test_in_another_application_its_errors_are_its_own(store_url: str, keys: Keys) -> None:
    """Not those of the other one, which knows no envelope."""
    app = mounted(create_app(Settings(redis_url=store_url, name=keys.name)), "/prefix")
    with serve(app) as api:
        for path in ("/prefix/static/none.js", "/prefix/none"):
            answer = api.get(path)
            assert (answer.status_code, answer.json()) == (404, {"code": 404, "message": "Not Found"})
