"""What a client gets of a text follows one set of rules: for the log, the page, its files and the description."""

import asyncio
import gzip
from collections.abc import Callable

import httpx
import pytest
import zstandard
from etlog_api.negotiation import LEAST, Body
from starlette.responses import Response
from support.apis import Api, Fill
from support.samples import saved

DECODE: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
    None: bytes,
}

TEXT = b'{"code":200,"data":[%b]}' % b",".join([b'"one of many"'] * 100)

#: One of everything that is negotiated and long enough to be compressed.
PATHS = ["/model/etl/log", "/", "/static/etlog.css", "/docs", "/openapi.json"]


def respond(body: Body, **headers: str) -> Response:
    """The answer to a request with these headers."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return asyncio.run(body.respond(raw))


def test_equal_texts_have_equal_tags() -> None:
    """On every replica, whatever else is in the answer; and others have others."""
    tag = Body(TEXT, "text/plain").tag
    assert tag.startswith('W/"')
    assert Body(TEXT, "application/json", {"Etlog-Cursor": "1-0"}).tag == tag
    assert Body(TEXT + b" ", "text/plain").tag != tag


def test_what_a_client_has_is_not_sent_again() -> None:
    """By its tag, alone or in a list, weak or not; and any answer will do for a star."""
    body = Body(TEXT, "text/plain", {"Etlog-Cursor": "1-0"})
    tag = body.tag

    for condition in (tag, tag.removeprefix("W/"), f'"x", {tag}', f'W/"y" ,{tag}, "z"', "*"):
        again = respond(body, if_none_match=condition)
        assert (again.status_code, again.body) == (304, b"")
        assert dict(again.headers) == {
            "etag": tag,
            "cache-control": "no-cache",
            "vary": "Accept-Encoding",
            "etlog-cursor": "1-0",
        }
    twice = asyncio.run(body.respond([(b"if-none-match", b'"x"'), (b"if-none-match", tag.encode())]))
    assert twice.status_code == 304
    for condition in ('"x"', "", tag + "x", tag[:-2] + '"', '"*"'):
        assert respond(body, if_none_match=condition).status_code == 200


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("GZIP", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "zstd"),
        ("*;q=0", None),
        ("gzip ; q=0.1 , br", "gzip"),
        ("identity", None),
        ("deflate, br", None),
        ("", None),
        ("gzip;q=x", None),
        (";;,,q=", None),
    ],
)
def test_a_client_gets_the_coding_that_it_accepts(accepted: str, coding: str | None) -> None:
    """The cheaper one of equals, none that weighs nothing; the tag is that of the text in all of them."""
    body = Body(TEXT, "text/plain")

    answer = respond(body, accept_encoding=accepted)

    assert answer.headers.get("Content-Encoding") == coding
    raw = bytes(answer.body)
    assert answer.headers["Content-Length"] == str(len(raw))
    assert DECODE[coding](raw) == TEXT
    assert coding is None or len(raw) < len(TEXT) / 4
    assert answer.headers["ETag"] == body.tag
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_short_text_is_not_compressed() -> None:
    """It would become longer."""
    for length, coding in ((LEAST - 1, None), (LEAST, "gzip")):
        answer = respond(Body(b"x" * length, "text/plain"), accept_encoding="gzip")
        assert answer.headers.get("Content-Encoding") == coding


@pytest.mark.parametrize("path", PATHS)
def test_all_texts_are_negotiated_alike(api: Api, fill: Fill, path: str) -> None:
    """With the same headers, the same codings, and nothing for a client that has the text."""
    fill([saved(size) for size in range(50)])

    texts = set()
    for coding in ("gzip", "zstd", None):
        headers = {"Accept-Encoding": coding or "identity"}
        with api.client.stream("GET", path, headers=headers) as answer:
            raw = b"".join(answer.iter_raw())
        assert (answer.status_code, answer.headers.get("Content-Encoding")) == (200, coding)
        assert (answer.headers["Cache-Control"], answer.headers["Vary"]) == ("no-cache", "Accept-Encoding")
        texts.add((answer.headers["ETag"], answer.headers["Content-Type"], DECODE[coding](raw)))
    [(tag, _, _)] = texts

    for condition in (tag, f'"x", {tag}', "*"):
        again = api.get(path, headers={"If-None-Match": condition})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        assert not {"Content-Length", "Content-Encoding"} & set(again.headers)


@pytest.mark.parametrize("path", [*PATHS, "/model/etl/log?limit=0", "/healthz", "/readyz"])
@pytest.mark.parametrize("headers", [{}, {"Accept-Encoding": "gzip"}, {"If-None-Match": "*"}])
def test_head_gives_the_headers_alone(api: Api, path: str, headers: dict[str, str]) -> None:
    """The same as those of GET, but no body."""

    def ask(method: str) -> httpx.Response:
        return api.client.request(method, path, headers=headers)

    got, head = ask("GET"), ask("HEAD")
    assert head.status_code == got.status_code
    assert head.content == b""
    assert {**head.headers, "date": ""} == {**got.headers, "date": ""}
