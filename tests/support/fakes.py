"""Stand-ins: a store in memory, a clock, and sentinels that are silent or know only what they are told."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.stream import Client


@contextmanager
def fake_store() -> Iterator[Client]:
    """A client of an empty store in memory. It knows no scripts: what rests on one is tested on a real server."""
    import fakeredis  # noqa: PLC0415 - an environment without it can run every test that needs no such store

    with fakeredis.FakeRedis(server=fakeredis.FakeServer()) as client:
        yield client


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Silent:
    """Takes connections and never says a word, as a process that hangs does."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Take no more."""
        self._socket.close()


class Mistaken(Silent):
    """Answers every question with the primary on port `primary`, whatever has become of that."""

    def __init__(self, primary: int) -> None:
        super().__init__()
        self.asked = 0
        port = b"$%d\r\n%d\r\n" % (len(str(primary)), primary)
        self._answers = (
            b"*2\r\n$9\r\n127.0.0.1\r\n" + port,
            b"*6\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n" + port + b"$5\r\nflags\r\n$6\r\nmaster\r\n",
            b"*0\r\n",
        )
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        super().close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    heard = b""
                    while b"REPLICAS" not in heard and (piece := connection.recv(4096)):
                        heard += piece
                    self.asked += 1
                    connection.sendall(b"".join(self._answers))
                    connection.recv(1)  # until it is closed
