"""The API for the tests: in a thread of this process, or as processes of its own; and ways to fill its log."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import uvicorn
from etlog_events.keys import Keys
from etlog_events.store import connect
from fastapi import FastAPI
from support.consumers import consumer_thread
from support.servers import PATIENCE, free_port, wait_until


@dataclass(frozen=True)
class Api:
    """An API that serves in a thread."""

    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop
    client: httpx.Client

    def get(self, path: str = "/model/etl/log", **options: Any) -> httpx.Response:
        """An answer."""
        return self.client.get(path, **options)

    def log(self, **parameters: str) -> Any:
        """What the log answers."""
        return self.get(params=parameters).json()


#: `with serving(cap=…) as api:` serves the test's log; the options are settings, and the clock.
Serving = Callable[..., AbstractContextManager[Api]]

#: `fill(texts)` appends events to the stream and waits until they are applied; `cap` and `retain` count at first.
Fill = Callable[..., None]


@contextmanager
def serve(app: FastAPI, **options: Any) -> Iterator[Api]:
    """Serve `app` on a free port of loopback while the block lasts; `options` are uvicorn's."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1, **options)
    )
    loops = []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        wait_until(lambda: server.started, what="the API to serve")
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            yield Api(url, app, loops[0], client)
    finally:
        server.should_exit = True
        thread.join()


class Tail:
    """A client of the live log, which reads in a thread."""

    def __init__(self, url: str, *, last: str | bytes = "", **parameters: str) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE)
        headers = {"Last-Event-ID": last} if last else {}
        self._connection.request("GET", f"/model/etl/log/stream?{urlencode(parameters)}", headers=headers)
        self.response = self._connection.getresponse()
        self.messages: list[tuple[bytes, bytes, bytes]] = []  # id, name, data
        self.last = last.encode() if isinstance(last, str) else last
        self.heartbeats = 0
        self.ended = False
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def data(self) -> list[bytes]:
        """The data of the messages that are events."""
        return [data for _, name, data in self.messages if name == b"message"]

    @property
    def resyncs(self) -> list[tuple[bytes, bytes]]:
        """Id and reason of the messages that say to read the log anew."""
        return [(entry_id, data) for entry_id, name, data in self.messages if name == b"resync"]

    def wait(self, number: int) -> None:
        """Wait for so many messages."""
        wait_until(lambda: len(self.messages) >= number or self.ended, what=f"{number} messages of the live log")

    def close(self) -> None:
        """Leave."""
        with suppress(OSError):
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.response.close()
        self._connection.close()

    def _read(self) -> None:
        fields: dict[bytes, bytes] = {}
        with suppress(OSError, HTTPException, ValueError):  # it was left, in the middle of a line perhaps
            while line := self.response.readline():
                name, _, value = line.rstrip(b"\r\n").partition(b": ")
                if line.startswith(b":"):
                    self.heartbeats += line.startswith(b": ping")
                elif name:
                    fields[name] = value
                elif fields:
                    self.last = fields.get(b"id", self.last)
                    if b"data" in fields:
                        self.messages.append((self.last, fields.get(b"event", b"message"), fields[b"data"]))
                    fields = {}
        self.ended = True


@contextmanager
def tail(url: str, *, last: str | bytes = "", **parameters: str) -> Iterator[Tail]:
    """A client of the live log while the block lasts; `last` is its `Last-Event-ID`."""
    client = Tail(url, last=last, **parameters)
    try:
        yield client
    finally:
        client.close()


def add(client: Any, keys: Keys, texts: Sequence[bytes], **fields: str) -> None:
    """Append events to the stream, as any client may."""
    pipe = client.pipeline(transaction=False)
    for text in texts:
        pipe.xadd(keys.events, {"event": text, **fields})
    pipe.execute()


def apply(url: str, keys: Keys, texts: Sequence[bytes]) -> None:
    """Append events to a log of the store at `url`, and apply them."""
    with connect(url, part="test") as client:
        add(client, keys, texts)
        last = client.xrevrange(keys.events, count=1)[0][0]
        with consumer_thread(url, keys):
            wait_until(lambda: client.get(keys.cursor) == last, what="the events to be applied")


class Replica:
    """`etlog serve` on a port of its own; `settings` are those of its environment, without `ETLOG_`."""

    def __init__(self, store_url: str, log: str, **settings: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        given = {"ETLOG_REDIS_URL": store_url, "ETLOG_NAME": log}
        given |= {f"ETLOG_{name.upper()}": value for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "etlog", "serve", "--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]],
            env={**os.environ, **given},
            stdout=self._printed,
            stderr=subprocess.STDOUT,
        )

    @property
    def log(self) -> str:
        """The address of the log."""
        return f"{self.url}/model/etl/log"

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        self._printed.seek(0)
        return self._printed.read().decode()

    def wait(self) -> None:
        """Wait until it serves."""
        wait_until(self._serves, what="the replica to serve")

    def stop(self) -> float:
        """SIGTERM. Returns the seconds until it has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        return time.monotonic() - began

    def close(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.process.wait()
        self._printed.close()

    def _serves(self) -> bool:
        assert self.process.poll() is None, f"the replica ended:\n{self.printed}"
        try:
            return httpx.get(f"{self.url}/healthz").status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def replicas(number: int, store_url: str, log: str, **settings: str) -> Iterator[list[Replica]]:
    """So many replicas of one log, while the block lasts."""
    started = [Replica(store_url, log, **settings) for _ in range(number)]
    try:
        for each in started:
            each.wait()
        yield started
    finally:
        for each in started:
            each.close()
