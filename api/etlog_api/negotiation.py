"""Content negotiation: what a client gets of a text, by what it has already and which codings it accepts."""

import asyncio
import gzip
from collections.abc import Iterable, Mapping
from functools import cached_property, lru_cache, partial
from hashlib import blake2b

import zstandard
from starlette.responses import Response

#: Bytes below which compression gains nothing.
LEAST = 1024

#: Effort. Above it the time grows faster than the gain.
GZIP_LEVEL, ZSTD_LEVEL = 5, 3

#: Any client may keep an answer if it asks each time whether it still holds.
CACHE_CONTROL = "no-cache"

#: As ASGI passes them: names in lower case, each as often as it came.
Headers = Iterable[tuple[bytes, bytes]]

#: By the name of the coding, the cheaper one first.
CODINGS = {
    "zstd": partial(zstandard.compress, level=ZSTD_LEVEL),
    "gzip": partial(gzip.compress, compresslevel=GZIP_LEVEL, mtime=0),
}


class Body:
    """A text of this media type in every coding that a client may ask for, each made once. `more` are its headers."""

    def __init__(self, text: bytes, media_type: str, more: Mapping[str, str] | None = None) -> None:
        self.text = text
        self._media_type = media_type
        self._more = more or {}
        self._coded: dict[str, asyncio.Future[bytes]] = {}
        self._responses: dict[str | None, Response] = {}

    @cached_property
    def tag(self) -> str:
        """Validator of the text: the same text has the same tag in every coding and on every replica."""
        return f'W/"{blake2b(self.text, digest_size=12).hexdigest()}"'

    async def respond(self, headers: Headers) -> Response:
        """The answer to a GET or HEAD with `headers`: in the coding it accepts, or 304 where its copy still holds.

        The server leaves the body out for a HEAD.
        """
        condition = _joined(headers, b"if-none-match")
        if condition and (condition == self.tag or _matches(condition, self.tag)):
            return self._unchanged
        coding = _coding(_joined(headers, b"accept-encoding")) if len(self.text) >= LEAST else None
        response = self._responses.get(coding)
        if response is None:
            more, content = self._headers, self.text
            if coding is not None:
                content, more["Content-Encoding"] = await self._encode(coding), coding
            response = self._responses[coding] = Response(content, headers=more, media_type=self._media_type)
        return response

    async def _encode(self, coding: str) -> bytes:
        """The text in `coding`. A thread compresses it: a long text takes long, and others want answers meanwhile."""
        if coding not in self._coded:
            self._coded[coding] = asyncio.ensure_future(asyncio.to_thread(CODINGS[coding], self.text))
        return await asyncio.shield(self._coded[coding])

    @cached_property
    def _unchanged(self) -> Response:
        return Response(status_code=304, headers=self._headers)

    @property
    def _headers(self) -> dict[str, str]:
        return {"ETag": self.tag, "Cache-Control": CACHE_CONTROL, "Vary": "Accept-Encoding", **self._more}


def _joined(headers: Headers, name: bytes) -> str:
    """A header that is a list, which may come in pieces; empty if it does not come."""
    return b",".join([value for header, value in headers if header == name]).decode("latin-1")


def _matches(condition: str, tag: str) -> bool:
    """Whether an `If-None-Match` names the tag, by the weak comparison of RFC 9110."""
    opaque = tag.removeprefix("W/")
    return any(given.strip().removeprefix("W/") in {opaque, "*"} for given in condition.split(","))


@lru_cache(maxsize=64)
def _coding(accepted: str) -> str | None:
    """The best coding that an `Accept-Encoding` allows; at equal weight the cheaper one."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weight = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            weights[name.strip()] = 0.0
    best = max(CODINGS, key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None
