"""Receivers of webhooks on loopback: real servers that note what they get, and answer as a test says."""

import base64
import hashlib
import hmac
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message as Headers
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from support.certificates import Signed


@dataclass(frozen=True)
class Received:
    """A request as it came; `at` is when, in seconds since 1970."""

    path: str
    headers: Headers
    body: bytes
    at: float

    @property
    def id(self) -> str:
        """The id of the message."""
        return str(self.headers["webhook-id"])

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)

    def is_signed_with(self, key: bytes) -> bool:
        """Whether the signature is right, by the text of Standard Webhooks and not by a library."""
        signed = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.body])
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(self.headers["webhook-signature"], expected)


#: Writes a whole answer, byte by byte if it likes. It gets a way to write, and an event that is set at the end of the
#: receiver.
Raw: TypeAlias = Callable[[Callable[[bytes], object], threading.Event], None]


@dataclass(frozen=True)
class Answer:
    """What a receiver answers. `raw` writes all of it instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: Raw | None = None


class Receiver:
    """A receiver on 127.0.0.1, which answers 200 unless told otherwise. `received` is what has come, oldest first.

    With `signed` it speaks TLS. It may be `down` for a while, on the same port: connections are then refused.
    """

    def __init__(self, signed: Signed | None = None) -> None:
        self.received: list[Received] = []
        self._answers: list[Answer] = []
        self._lasting = Answer()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if signed else None
        if self._tls and signed:
            self._tls.load_cert_chain(signed.certificate, signed.key)
        self._port = 0
        self._up()
        self.url = f"{'https' if signed else 'http'}://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Its port."""
        return self._port

    @property
    def ids(self) -> Sequence[str]:
        """The ids of all messages that have come, each as often as it came."""
        return [received.id for received in self.received]

    def answer(self, *answers: Answer) -> None:
        """Give these answers to the next requests, one to each; the last of them to all later ones as well."""
        with self._lock:
            *self._answers, self._lasting = answers

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections meanwhile."""
        self._down()
        try:
            yield
        finally:
            self._up()

    def close(self) -> None:
        """End it."""
        self._closing.set()
        self._down()

    def _up(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), self._handler())
        self._port = self._server.server_port
        if self._tls:
            self._server.socket = self._tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def _down(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _next(self, request: Received) -> Answer:
        with self._lock:
            self.received.append(request)
            return self._answers.pop(0) if self._answers else self._lasting

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 30

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver._next(Received(self.path, self.headers, body, time.time()))
                if answer.raw is not None:
                    answer.raw(self.wfile.write, receiver._closing)
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_PUT = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        return Handler


class _Server(ThreadingHTTPServer):
    """What a sender does to it is not an error of the receiver: it may leave in the middle of an answer."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that may be closed."""
        with suppress(OSError):
            super().shutdown_request(request)


@contextmanager
def receiving(signed: Signed | None = None) -> Iterator[Receiver]:
    """A receiver, while the block lasts."""
    receiver = Receiver(signed)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def talking(answer: bytes) -> Iterator[int]:
    """The port of a server that is none of HTTP: it says these bytes to everyone, and goes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            with connection, connection.makefile("rb") as request, suppress(OSError):
                length = 0
                while line := request.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                request.read(length)  # else the system breaks the connection, and the answer may be lost
                connection.sendall(answer)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
