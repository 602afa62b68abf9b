"""One call of `publish.lua`: a batch of one producer's events, appended exactly once however often it is sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import Any

from etlog_events import contract
from etlog_events.keys import Keys
from redis.exceptions import NoScriptError, ResponseError

from etlog_producer import acks as acknowledgement
from etlog_producer.acks import Acks

SCRIPT = files(__package__).joinpath("publish.lua").read_text()

_SHA = sha1(SCRIPT.encode()).hexdigest()  # noqa: S324 - the store's name for a script, not a secret

#: Events in one call of the script: the store does nothing else meanwhile. A longer batch travels as several calls.
CALL_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Published:
    """The answer: `held` is the producer's last number in the store; `gap` says that the batch was refused for
    not following on from it."""

    held: int
    gap: bool


class Publisher:
    """Publishes to one log through a client of the store. `acks` says when a batch counts as delivered."""

    def __init__(self, client: Any, keys: Keys, acks: Acks = "memory") -> None:
        self._client = client
        self._log = keys.name
        self._keys = (keys.events, keys.producers, keys.contract, keys.retired)
        self._acks = acks
        self._wait = acknowledgement.command(acks)

    def __call__(self, producer: str, first: int, events: Sequence[bytes], *, skip: bool = False) -> Published:
        """Send `events`, numbered from `first`; none asks only what is held. With `skip` a gap before `first` is given
        up instead of refused.

        Raises the driver's errors, those of `acks`, and `NewerContract`; after any of them the same call may be made
        again.
        """
        try:
            return self._load_and_call(producer, first, events, skip)
        except ResponseError as e:
            newer = contract.refusal(e, self._log, "etlog-producer")
            if newer is None:
                raise
            raise newer from e

    def _load_and_call(self, producer: str, first: int, events: Sequence[bytes], skip: bool) -> Published:
        try:
            return self._call(producer, first, events, skip)
        except NoScriptError:  # a store that was restarted, or another one
            self._client.script_load(SCRIPT)
            return self._call(producer, first, events, skip)

    def _call(self, producer: str, first: int, events: Sequence[bytes], skip: bool) -> Published:
        wait = self._wait if events else None
        if wait is None and len(events) <= CALL_EVENTS:
            return _read(self._client.execute_command(*self._command(producer, first, events, skip)))
        pipe = self._client.pipeline(transaction=False)
        for start in range(0, max(len(events), 1), CALL_EVENTS):
            part = events[start : start + CALL_EVENTS]
            pipe.execute_command(*self._command(producer, first + start, part, skip and start == 0))
        if wait is not None:
            pipe.execute_command(*wait)
        answers = pipe.execute(raise_on_error=False)
        confirmed = answers.pop() if wait is not None else None
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        result = next((published for published in map(_read, answers) if published.gap), _read(answers[-1]))
        if wait is not None and not result.gap:
            acknowledgement.check(self._acks, confirmed)
        return result

    def _command(self, producer: str, first: int, events: Sequence[bytes], skip: bool) -> tuple[Any, ...]:
        return ("EVALSHA", _SHA, len(self._keys), *self._keys, producer, first, "skip" if skip else "follow", *events)


def _read(answer: Any) -> Published:
    outcome, held = answer
    return Published(held=int(held), gap=outcome == b"GAP")
