"""Many clients of the live log in one process: each notes what it is sent and when."""

import asyncio
import time
from datetime import datetime

import orjson
from shared import turn

job = turn.arguments()
REQUEST = f"GET {job['path']} HTTP/1.1\r\nHost: subscribers\r\nAccept: text/event-stream\r\n\r\n".encode()


#: What a client reads at a time, into one place for all: a buffer for each read would be a mapping of memory each.
ROOM = memoryview(bytearray(256 * 1024))


class Subscriber(asyncio.BufferedProtocol):
    """Keeps the pieces with their times; nothing is read out of them while it is measured."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.connected = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(REQUEST)

    def get_buffer(self, sizehint: int) -> memoryview:
        return ROOM

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(ROOM[:nbytes])
        self.pieces.append((time.time_ns(), data))
        if not self.connected.done() and b": connected" in data:
            self.connected.set_result(None)


def nanoseconds(text: str) -> int:
    """Since 1970, of a time in RFC 3339 with nanoseconds."""
    whole, _, fraction = text.rstrip("Z").partition(".")
    return int(datetime.fromisoformat(whole + "+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


def delays(subscriber: Subscriber, born: dict[bytes, tuple[int, int]]) -> tuple[int, list[int]]:
    """How many events came, in order and none twice, and the nanoseconds that each took."""
    expected, found, rest = 0, [], b""
    for when, piece in subscriber.pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                if line not in born:
                    event = orjson.loads(line[6:])
                    born[line] = event["metadata"]["size"], nanoseconds(event["time"])
                size, at = born[line]
                if size != expected:
                    raise SystemExit(f"a client got event {size} instead of {expected}")
                expected += 1
                found.append(when - at)
    return expected, found


async def main() -> None:
    """Connect all, listen until the time is over, then look at what came."""
    loop = asyncio.get_running_loop()
    subscribers = []
    for _ in range(job["clients"]):
        _, subscriber = await loop.create_connection(Subscriber, "127.0.0.1", job["port"])
        subscribers.append(subscriber)
    await asyncio.gather(*(subscriber.connected for subscriber in subscribers))
    began = await loop.run_in_executor(None, turn.wait_for_go)
    await loop.run_in_executor(None, input)  # until all was emitted, and a moment longer
    born: dict[bytes, tuple[int, int]] = {}
    counts, all_delays = set(), []
    for subscriber in subscribers:
        count, found = delays(subscriber, born)
        counts.add(count)
        all_delays += found
    all_delays.sort()
    turn.tell(
        time.perf_counter() - began,
        least=min(counts),
        most=max(counts),
        p50=all_delays[len(all_delays) // 2] / 1e6,
        p99=all_delays[len(all_delays) * 99 // 100] / 1e6,
    )


asyncio.run(main())
