"""A bug of ours that one event brings to light does not stop the log."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog.verify import verify
from etlog_consumer import batch
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.validation import validator
from support.consumers import CaughtUp, Consuming, Publish
from support.samples import saved
from support.stream import dead, listed, stats

POISON = saved(13, marker="poison")


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A validator that fails on the poison, and what it was given."""
    given: list[bytes] = []

    def buggy(kinds: Kinds) -> Callable[[bytes], Any]:
        def validate(raw: bytes) -> Any:
            given.append(raw)
            if b"poison" in raw:
                raise ZeroDivisionError("nobody thought of thirteen")
            return validator(kinds)(raw)

        return validate

    monkeypatch.setattr(batch, "validator", buggy)
    return given


def test_the_entry_becomes_a_dead_letter_and_the_rest_is_applied(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    validated: list[bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the exception's text, after one more attempt by itself."""
    caplog.set_level(logging.INFO, "etlog.consumer")
    good = [saved(size) for size in range(20)]
    publish([*good[:10], POISON, *good[10:]])
    with consuming():
        caught_up()

    assert listed(client, keys, "allocation") == good
    [letter] = dead(client, keys)
    assert letter[b"raw"] == POISON
    assert letter[b"reason"] == b"the consumer failed on it: ZeroDivisionError: nobody thought of thirteen"
    assert stats(client, keys) == {"applied": 20, "dead": 1}
    assert validated.count(POISON) == 2
    assert verify(client, keys).faults == []
    [failed] = [record for record in caplog.records if getattr(record, "action", "") == "batch_failed"]
    assert failed.exc_info is not None


def test_a_poison_in_every_entry_is_survived(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    validated: list[bytes],
) -> None:
    """Among unnumbered ones, too; later events are applied again."""
    publish([POISON] * 50)
    client.xadd(keys.events, {"event": POISON})
    publish([saved()])
    with consuming():
        caught_up()

    assert stats(client, keys) == {"applied": 1, "dead": 51, "unnumbered": 1}
    assert verify(client, keys).faults == []
