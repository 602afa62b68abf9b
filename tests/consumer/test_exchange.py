"""Commands go out, something else is done, the answers are taken; and reading ahead, which rests on it."""

import threading
from collections.abc import Callable, Sequence

import pytest
import redis
from etlog_consumer import Consumer, Target
from etlog_consumer.exchange import exchange
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from support.samples import saved
from support.servers import wait_until
from support.stream import dead, listed, stats


def test_the_store_works_before_the_answers_are_taken(client: redis.Redis, keys: Keys, store_url: str) -> None:
    """And the answers come in the order of the commands."""
    commands = [("SET", keys.cursor, "1"), ("GET", keys.cursor), ("ECHO", "last")]
    with connect(store_url, part="test") as exchanging, exchange(exchanging, commands) as answers:
        wait_until(lambda: client.get(keys.cursor) == b"1", what="the first command")
        assert answers() == [b"OK", b"1", b"last"]


def test_an_error_is_raised_and_leaves_no_answer_behind(store_url: str) -> None:
    """The commands behind it have answers, too: nobody takes one of them for his own."""
    with connect(store_url, part="test") as exchanging:
        with (
            pytest.raises(redis.ResponseError),
            exchange(exchanging, [("EVALSHA", "0", 0), ("ECHO", "old")]) as answers,
        ):
            answers()

        assert exchanging.echo("new") == b"new"


def test_a_failure_meanwhile_leaves_no_answer_behind(store_url: str) -> None:
    """As little as an error of the store does."""
    with connect(store_url, part="test") as exchanging:
        with pytest.raises(ZeroDivisionError), exchange(exchanging, [("ECHO", "old")]):
            1 / 0  # noqa: B018

        assert exchanging.echo("new") == b"new"


def test_a_backlog_is_applied_once_by_consumers_that_come_and_go(
    client: redis.Redis, keys: Keys, store_url: str, publish: Callable[[Sequence[bytes]], None]
) -> None:
    """Each is stopped or fails with a batch in hand and another one read ahead; wrong events are among them."""
    publish([saved(size) if size % 100 else b"wrong" for size in range(10_000)])
    turns = 0
    while stats(client, keys).get("applied", 0) < 9900:
        turns += 1
        with connect(store_url, part="consumer") as consumers_client:
            consumer = Consumer(consumers_client, Target(keys, KUBECOST_KINDS, 1000), retain=100_000)
            consumer.run(_Turns(6, consumer, failing=turns % 2 == 0))

    assert turns > 2
    assert stats(client, keys) == {"applied": 9900, "dead": 100}
    assert len(dead(client, keys)) == 100
    assert listed(client, keys, "allocation") == [saved(size) for size in range(10_000) if size % 100][-1000:]


class _Turns(threading.Event):
    """A stop that comes after so many turns of a consumer; if it is to fail, the store does not know its script from
    the first on that read ahead."""

    def __init__(self, left: int, consumer: Consumer, *, failing: bool) -> None:
        super().__init__()
        self._left, self._consumer, self._failing = left, consumer, failing

    def is_set(self) -> bool:
        self._left -= 1
        if self._failing and self._consumer._ahead:
            self._failing = False
            self._consumer._sha = "0" * 40
        return self._left < 0
