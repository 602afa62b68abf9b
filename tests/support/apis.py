"""The API for the tests: in a thread of this process, or as a process; and ways to fill its log."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import uvicorn
from etlog_events.entry import NAMES
from etlog_events.keys import Keys
from etlog_events.store import connect
from fastapi import FastAPI
from support.commands import Command
from support.consumers import catch_up, consumer_thread
from support.servers import PATIENCE, free_port, wait_until
from support.stream import Client


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


def add(client: Client, keys: Keys, texts: Sequence[bytes], **fields: str) -> None:
    """Append events to the stream, as any client may."""
    pipe = client.pipeline(transaction=False)
    for text in texts:
        pipe.xadd(keys.events, {"event": text, **fields})
    pipe.execute()


def add_entry(client: Client, keys: Keys, texts: Sequence[bytes], **fields: str) -> bytes:
    """Append one entry that holds several events. Returns its id."""
    named = zip(NAMES, texts, strict=False)
    entry_id: bytes = client.xadd(keys.events, {**fields, **{name.decode(): text for name, text in named}})
    return entry_id


def apply(url: str, keys: Keys, texts: Sequence[bytes]) -> None:
    """Append events to a log of the store at `url`, and apply them."""
    with connect(url, part="test") as client:
        add(client, keys, texts)
        with consumer_thread(url, keys):
            catch_up(client, keys)


class ApiProcess:
    """`etlog serve` on its own port, where it can be stopped and started again.

    `options` are those of the command, `settings` those of its environment, without `ETLOG_`.
    """

    def __init__(self, store_url: str, *options: str, **settings: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = f"{self.url}/model/etl/log"
        self._arguments = ("serve", "--host", "127.0.0.1", "--port", str(self.port), *options)
        self._settings: dict[str, Any] = {"redis_url": store_url, **settings}
        self.start()

    def start(self) -> None:
        """Start it; `wait` waits until it serves."""
        self.command = Command(*self._arguments, **self._settings)

    def wait(self) -> None:
        """Wait until it serves."""
        wait_until(self._serves, what="the API to serve")

    def stop(self) -> float:
        """SIGTERM. Returns the seconds until it has ended."""
        took = self.command.stop()
        self.command.close()
        return took

    def close(self) -> None:
        """End it, however it stands."""
        self.command.close()

    def _serves(self) -> bool:
        assert self.command.process.poll() is None, f"the API ended:\n{self.command.printed}"
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def api_process(store_url: str, *options: str, **settings: str) -> Iterator[ApiProcess]:
    """An API that serves as a process while the block lasts."""
    api = ApiProcess(store_url, *options, **settings)
    try:
        api.wait()
        yield api
    finally:
        api.close()
