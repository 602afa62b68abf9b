"""Webhooks: messages posted as JSON, and signed, as Standard Webhooks have it.

See https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import asyncio
import base64
import binascii
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib import metadata

import httpx
from etlog_events.config import Notify
from etlog_events.errors import ConfigError
from standardwebhooks import Webhook as Signing

from etlog_watch.message import Message
from etlog_watch.sender import SENT, Outcome
from etlog_watch.talkative import silence

#: Seconds that an attempt may take, from looking up the name of the host to the end of the answer's headers.
LIMIT = 15.0

#: Seconds to which `Retry-After` is cut: a receiver that names a day would miss what happens in it.
LONGEST_WAIT = 3600.0

#: What a secret begins with whose rest is the key in base64.
PREFIX = "whsec_"

#: Loggers that name the address of a request, or show its headers.
_TALKATIVE = ("httpx", "httpcore")


class Webhook:
    """Posts messages to an `http://` or `https://` address, each attempt over a new connection.

    Proxies are those of the environment (`HTTPS_PROXY`, `NO_PROXY`). Certificates are checked against the authorities
    of the system, or those of `SSL_CERT_FILE`. `key` signs the messages, None: they are not signed.
    """

    def __init__(self, url: str, key: bytes | None = None, clock: Callable[[], float] = time.time) -> None:
        """Send to `url`, which may hold a user and a password. Raises `ValueError`, which does not repeat it."""
        silence(*_TALKATIVE)
        try:
            address = httpx.URL(url)
        except (httpx.InvalidURL, ValueError):
            raise ValueError("is not an address that messages can be sent to") from None
        auth = httpx.BasicAuth(address.username, address.password) if address.userinfo else None
        self._url = address.copy_with(userinfo=b"", fragment=None)
        self._signing = Signing(key) if key is not None else None
        self._clock = clock
        try:
            self._client = httpx.AsyncClient(
                auth=auth,
                verify=ssl.create_default_context(),
                follow_redirects=False,  # what is signed for one address is not for another
                timeout=LIMIT,  # of each step; that of all of them is in `send`
                limits=httpx.Limits(max_keepalive_connections=0),  # messages are hours apart
                event_hooks={"response": [_forget_redirect]},
                headers={"User-Agent": f"etlog-watch/{_version()}", "Content-Type": "application/json"},
            )
        except (httpx.InvalidURL, ValueError, ImportError):  # of a proxy: its address may hold a password
            raise ValueError("cannot be reached through what HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names") from None

    async def send(self, message: Message) -> Outcome:
        """Make one attempt. Never raises for what the target or the network does; takes `LIMIT` at most."""
        body = message.body
        try:
            # The status says all: what follows the headers is never read, however long it is.
            async with (
                asyncio.timeout(LIMIT),
                self._client.stream("POST", self._url, content=body, headers=self._headers(message.id, body)) as answer,
            ):
                return self._outcome(answer.status_code, answer.headers)
        except (TimeoutError, httpx.TimeoutException):
            return Outcome("later", f"it did not answer within {LIMIT:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as e:
            return Outcome("later", _reason(e))

    async def close(self) -> None:
        """Leave the target."""
        await self._client.aclose()

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        now = int(self._clock())
        headers = {"webhook-id": id, "webhook-timestamp": str(now)}
        if self._signing is not None:
            headers["webhook-signature"] = self._signing.sign(id, datetime.fromtimestamp(now, UTC), body.decode())
        return headers

    def _outcome(self, status: int, headers: Mapping[str, str]) -> Outcome:
        reason = f"it answered {_named(status)}"
        if 200 <= status < 300:
            return SENT
        if status == HTTPStatus.GONE:
            return Outcome("gone", reason)
        if 300 <= status < 400:
            return Outcome(
                "later", f"{reason}: redirects are not followed, so url must be the address that it leads to"
            )
        if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
            return Outcome("later", reason, self._after(headers.get("Retry-After", "").strip()))
        return Outcome("later", reason)

    def _after(self, text: str) -> float | None:
        """The seconds that a `Retry-After` asks for, which is a number of them or a date; None if it is neither."""
        if text.isascii() and text.isdigit():
            return min(float(text), LONGEST_WAIT)
        try:
            at = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return None
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - self._clock()
        return min(max(seconds, 0.0), LONGEST_WAIT)


def webhook_of(index: int, notify: Notify, environment: Mapping[str, str]) -> Webhook:
    """The webhook of `notify[index]`, whose secret may be in `environment`. Raises `ConfigError`."""
    key = _key(index, notify.secret, environment) if notify.secret is not None else None
    try:
        return Webhook(notify.url, key)
    except ValueError as e:
        raise ConfigError([f"notify[{index}].url {e}"]) from None


def _key(index: int, secret: str, environment: Mapping[str, str]) -> bytes:
    """The bytes that sign: those after `whsec_`, or of any other text."""
    where, name = f"notify[{index}].secret", ""
    if secret.startswith("env:"):
        name = secret.removeprefix("env:")
        secret = environment.get(name, "")
        if not secret:
            raise ConfigError([f"{where} is in the variable {name}, which is not set"])
    if not secret.startswith(PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise ConfigError([f"{where} must be base64 after {PREFIX}{f', in the variable {name}' if name else ''}"])
    return key


async def _forget_redirect(answer: httpx.Response) -> None:
    """Without this, httpx makes the next request though it is not sent, and fails if it leads nowhere."""
    answer.headers.pop("Location", None)


def _version() -> str:
    try:
        return metadata.version("etlog-watch")
    except metadata.PackageNotFoundError:  # run from the source
        return "0"


def _named(status: int) -> str:
    """A status with its usual name: what the target calls it may be anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _reason(error: Exception) -> str:
    """Why an attempt failed. The texts of errors are not repeated: some hold what was sent, or what came back."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate was refused: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return "it does not speak TLS as this machine does"
    if isinstance(error, httpx.ProxyError):
        return "the proxy did not let the message through"
    if isinstance(error, httpx.ProtocolError | httpx.DecodingError | httpx.InvalidURL):
        return "its answer is not HTTP, or was cut off"
    problem = "it cannot be reached" if isinstance(error, httpx.ConnectError) else "the connection to it failed"
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"{problem}: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno is not None:
            return f"{problem}: {os.strerror(cause.errno)}"
    return problem


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__
