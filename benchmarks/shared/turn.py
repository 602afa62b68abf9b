"""A contestant's turn: it gets ready, waits for the word, works, and tells how long that took."""

import json
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any


def arguments() -> Any:
    """What the contest hands to the program, as JSON in its only argument."""
    return json.loads(sys.argv[1])


def wait_for_go() -> float:
    """Say that everything is imported and connected, and return when it begins, by `perf_counter`."""
    print("ready", flush=True)
    sys.stdin.readline()
    return perf_counter()


def tell(seconds: float, **more: Any) -> None:
    """The result, as the last line."""
    print(json.dumps({"seconds": seconds, **more}), flush=True)


def take(work: Callable[[], Any]) -> None:
    """The whole turn of a program that works without asyncio."""
    began = wait_for_go()
    work()
    tell(perf_counter() - began)


async def take_async(work: Callable[[], Awaitable[Any]]) -> None:
    """The whole turn of a program that works with asyncio."""
    began = wait_for_go()
    await work()
    tell(perf_counter() - began)
