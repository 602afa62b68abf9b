"""A body: the bytes of one answer in every coding a client may ask for, each made once."""

import gzip
from functools import cached_property
from hashlib import blake2b

import zstandard
from fastapi import Request, Response

#: Bytes below which compression gains nothing.
LEAST = 1024

#: Effort. Above it the time grows faster than the gain.
GZIP_LEVEL, ZSTD_LEVEL = 5, 3

#: Any client may keep an answer, if it asks each time whether it still holds.
CACHE_CONTROL = "no-cache"


class Body:
    """JSON text and its codings."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    @cached_property
    def tag(self) -> str:
        """Validator of the text: the same text has the same tag in every coding and on every replica."""
        return f'W/"{blake2b(self.text, digest_size=12).hexdigest()}"'

    @cached_property
    def gzip(self) -> bytes:
        """The text, compressed by gzip."""
        return gzip.compress(self.text, GZIP_LEVEL, mtime=0)

    @cached_property
    def zstd(self) -> bytes:
        """The text, compressed by zstd."""
        return zstandard.compress(self.text, ZSTD_LEVEL)

    def respond(self, request: Request) -> Response:
        """The answer to `request`: in the coding it accepts, or only that what it has still holds."""
        headers = {"ETag": self.tag, "Cache-Control": CACHE_CONTROL, "Vary": "Accept-Encoding"}
        if _matches(request.headers.get("if-none-match"), self.tag):
            return Response(status_code=304, headers=headers)
        content = self.text
        if len(self.text) >= LEAST:
            match _coding(request.headers.get("accept-encoding", "")):
                case "zstd":
                    content, headers["Content-Encoding"] = self.zstd, "zstd"
                case "gzip":
                    content, headers["Content-Encoding"] = self.gzip, "gzip"
        return Response(content, headers=headers, media_type="application/json")


def _matches(condition: str | None, tag: str) -> bool:
    """Whether an `If-None-Match` names the tag, by the weak comparison of RFC 9110."""
    if condition is None:
        return False
    opaque = tag.removeprefix("W/")
    return any(given.strip().removeprefix("W/") in {opaque, "*"} for given in condition.split(","))


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
    best = max(("zstd", "gzip"), key=lambda name: weights.get(name, weights.get("*", 0.0)))
    return best if weights.get(best, weights.get("*", 0.0)) > 0 else None
