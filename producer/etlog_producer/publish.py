"""One call of `publish.lua`: a batch of one producer's events, appended exactly once however often it is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from etlog_events.keys import Keys

SCRIPT = files(__package__).joinpath("publish.lua").read_text()


@dataclass(frozen=True, slots=True)
class Published:
    """The answer: `held` is the producer's last number in the store; `gap` says that the batch was refused for
    not following on from it."""

    held: int
    gap: bool


class Publisher:
    """Publishes to one log through a client of the store."""

    def __init__(self, client: Any, keys: Keys) -> None:
        self._script = client.register_script(SCRIPT)
        self._keys = [keys.events, keys.producers]

    def __call__(self, producer: str, first: int, events: Sequence[bytes], *, skip: bool = False) -> Published:
        """Send `events`, numbered from `first`. With `skip` a gap before `first` is given up instead of refused.

        Raises the driver's errors; after any of them the same call may be made again.
        """
        mode = "skip" if skip else "follow"
        answer, held = self._script(keys=self._keys, args=[producer, first, mode, *events])
        return Published(held=int(held), gap=answer == b"GAP")
