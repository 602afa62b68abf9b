"""`@stage(...)`: a function that works on one set tells the log how it went."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from etlog_events.event import WindowPair
from etlog_events.kinds import ACTIONS

from etlog_producer.producer import Producer

P = ParamSpec("P")
R = TypeVar("R")

#: Where a value comes from: itself, or worked out from the arguments of the call.
WindowOf = WindowPair | Callable[..., WindowPair] | None

_WITH_SIZE = frozenset(action.name for action in ACTIONS if "size" in action.needs)


def stage(
    producer: Producer,
    prefix: str,
    *,
    window: WindowOf = None,
    done: str = "Saved",
    size: Callable[[Any], int] = len,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Emit `prefix + done` when the function returns, `prefix + "ComputeError"` when it raises, which it still does.

    Either event has in its metadata how many `seconds` the function took, the error also `done` as its `stage`.
    `window` is the set's window, or a function that gets the arguments of the call and returns it; `size` gets what
    the function returned. Raises `InvalidEvent` for a prefix that no kind begins with, when the function is called.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            span = window(*args, **kwargs) if callable(window) else window
            with producer.stage(prefix, window=span) as work, work.doing(done):
                result = function(*args, **kwargs)
                work.done(done, **({"size": size(result)} if done in _WITH_SIZE else {}))
                return result

        return call

    return decorate
