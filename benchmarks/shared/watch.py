"""A reader of the log: asks for it again and again, and notes when each event is in the answer for the first time."""

import socket
import time
from datetime import datetime

import orjson
from shared import turn

job = turn.arguments()
REQUEST = f"GET {job['path']} HTTP/1.1\r\nHost: watch\r\n\r\n".encode()


def ask(connection: socket.socket) -> bytes:
    """The body of one answer."""
    connection.sendall(REQUEST)
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += connection.recv(65536)
    head = received[:end].lower()
    length = int(head[head.index(b"content-length:") + 15 :].split(b"\r", 1)[0])
    while len(received) < end + 4 + length:
        received += connection.recv(65536)
    return received[end + 4 :]


def nanoseconds(text: str) -> int:
    """Since 1970, of a time in RFC 3339 with nanoseconds."""
    whole, _, fraction = text.rstrip("Z").replace("+00:00", "").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


with socket.create_connection(("127.0.0.1", job["port"])) as connection:
    ask(connection)
    began = turn.wait_for_go()
    seen: list[tuple[int, str]] = []  # when, and the time that the event bears
    expected, deadline = 0, time.monotonic() + job["seconds"]
    while expected < job["count"] and time.monotonic() < deadline:
        events = orjson.loads(ask(connection))["data"]["asset"]
        now = time.time_ns()
        for event in events:
            size = event["metadata"]["size"]
            if size == expected:
                seen.append((now, event["time"]))
                expected += 1
            elif size > expected:
                raise SystemExit(f"event {expected} was never in an answer, but {size} is")
delays = sorted(now - nanoseconds(text) for now, text in seen)
turn.tell(
    time.perf_counter() - began,
    seen=len(seen),
    p50=delays[len(delays) // 2] / 1e6,
    p99=delays[len(delays) * 99 // 100] / 1e6,
)
