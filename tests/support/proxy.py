"""A bad network between a part and its server: replies get lost or late, connections break."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

#: Bytes that are passed on at once.
CHUNK = 64 * 1024


class Proxy:
    """Forwards TCP connections to a port of this machine, and loses, delays or cuts as it is told.

    Whatever it does to replies, requests get through: the server has done what was asked of it. Except on connections
    that it has forgotten.
    """

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._swallowing = False
        self._swallowed = 0
        self._forgotten: set[socket.socket] = set()
        self.lost: list[bytes] = []  # requests on connections that were forgotten
        self._delay = 0.0
        self._closing = threading.Event()
        self._start(self._accept)

    def swallow_replies(self, swallow: bool) -> None:
        """From now on replies disappear, or get through again. Those that disappeared never come."""
        self._swallowing = swallow

    @property
    def swallowed(self) -> int:
        """Bytes of replies that have disappeared so far."""
        return self._swallowed

    def forget(self) -> None:
        """Take what comes on the connections that stand, and pass nothing on, in either direction. New ones work."""
        with self._lock:
            self._forgotten = self._forgotten | self._sockets

    def delay_replies(self, seconds: float) -> None:
        """From now on every reply is held up for so long."""
        self._delay = seconds

    def lead_to(self, port: int) -> None:
        """From now on forward to another port of this machine; connections that stand are broken."""
        self._target = ("127.0.0.1", port)
        self.cut()

    def cut(self) -> None:
        """Break all connections. New ones are accepted."""
        with self._lock:
            broken, self._sockets = self._sockets, set()
        for end in broken:
            _break(end)

    def close(self) -> None:
        """Break all connections, accept no more, and end."""
        self._closing.set()
        _break(self._listener)
        self.cut()
        while self._threads:
            self._threads.pop().join()
        self._listener.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="proxy", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:  # no one is there: the client sees its connection end
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            if self._closing.is_set():
                self.cut()
            self._start(self._connect, client, server)

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        """Serve one connection until either end goes."""
        requests = threading.Thread(target=self._pass_on, args=(client, server, False), name="proxy", daemon=True)
        requests.start()
        self._pass_on(server, client, True)
        requests.join()
        with self._lock:
            self._sockets -= {client, server}
            self._forgotten = self._forgotten - {client, server}
        client.close()
        server.close()

    def _pass_on(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        try:
            while data := source.recv(CHUNK):
                if replies and self._delay:
                    self._closing.wait(self._delay)
                if source in self._forgotten:
                    if not replies:
                        self.lost.append(data)
                elif replies and self._swallowing:
                    self._swallowed += len(data)
                else:
                    sink.sendall(data)
        except OSError:  # cut
            pass
        _break(source)
        _break(sink)


def _break(end: socket.socket) -> None:
    with suppress(OSError):  # it may be broken already
        end.shutdown(socket.SHUT_RDWR)
