"""As of when a log is judged: now, or the moment before the oldest event that waits; and it never goes back."""

import asyncio
from typing import Any

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect_async
from etlog_ledger.reading.connection import Connection
from etlog_ledger.reading.horizon import Horizon, Standing, read_standing
from support.apis import Fill, add
from support.samples import saved

#: 2022-06-03T12:00:00Z
NOON = 1_654_257_600

#: Seconds in four years.
YEARS = 126_230_400


def standing(
    asked: float, oldest: float | None = None, cursor: bytes | None = b"5-0", caught_up: float = 0, log: bytes = b"log"
) -> Standing:
    """Where a log stands, in seconds after noon by the store's clock."""
    return Standing(log, cursor, NOON + asked, NOON + caught_up, None if oldest is None else NOON + oldest)


def after_noon(horizon: Horizon, clock: float, at: Standing) -> float:
    """As of when it is judged, in seconds after noon; `clock` is the time of this process."""
    return horizon.now(NOON + clock, at) - NOON


def test_where_nothing_waits_it_is_now() -> None:
    """To ten seconds, so that replicas judge as of the same moments; whatever the store's clock says."""
    for ahead in (0, -YEARS, YEARS):
        horizon = Horizon()
        assert [after_noon(horizon, ahead + clock, standing(clock)) for clock in (0, 9.99, 10, 25)] == [
            ahead + clock for clock in (0, 0, 10, 20)
        ]


def test_nothing_is_judged_later_than_the_oldest_event_that_waits() -> None:
    """However long it waits."""
    horizon = Horizon()

    assert [after_noon(horizon, clock, standing(clock, oldest=31)) for clock in (32, 45, 3600)] == [30, 30, 30]
    assert after_noon(horizon, 3601, standing(3601, cursor=b"6-0")) == 3600


def test_the_milliseconds_for_which_events_always_wait_do_not_move_it_back() -> None:
    """Nor does a clock that is a little ahead of the store's."""
    horizon = Horizon()
    assert after_noon(horizon, 10.01, standing(9.97)) == 10

    assert after_noon(horizon, 10.02, standing(9.98, oldest=9.975)) == 10
    assert after_noon(horizon, 20.01, standing(19.97, oldest=19.96)) == 10
    assert after_noon(horizon, 20.11, standing(20.07, oldest=20.06)) == 20


def test_ids_that_others_chose_count_only_from_when_all_was_applied() -> None:
    """An entry may have any id above the last: one far in the past, and one in the future."""
    assert after_noon(Horizon(), 100, standing(100, oldest=-YEARS, caught_up=55)) == 50
    assert after_noon(Horizon(), 100, standing(100, oldest=YEARS)) == 100
    assert after_noon(Horizon(), 100, standing(100, oldest=-YEARS, caught_up=YEARS)) == 100


def test_a_clock_that_differs_from_the_stores_is_allowed_for() -> None:
    """By as much as it differed when the log moved or nothing waited."""
    for ahead in (-YEARS, -120, 120, YEARS):
        horizon = Horizon()
        after_noon(horizon, ahead + 1, standing(1))
        assert after_noon(horizon, ahead + 300, standing(300, oldest=31)) == ahead + 30
        moving = Horizon()
        after_noon(moving, ahead + 1, standing(1, oldest=0.9, cursor=b"5-0"))
        assert after_noon(moving, ahead + 300, standing(300, oldest=31, cursor=b"6-0")) == ahead + 30


def test_a_clock_that_is_set_while_events_wait_makes_nothing_overdue() -> None:
    """It may be right, but the log is as it was."""
    horizon = Horizon()
    after_noon(horizon, 1, standing(1))

    assert after_noon(horizon, 2, standing(2, oldest=1.5)) == 0
    assert after_noon(horizon, 3603, standing(3, oldest=1.5)) == 0
    assert after_noon(Horizon(), 3603, standing(3, oldest=1.5)) == 0


def test_it_goes_back_with_the_clock_and_with_the_log() -> None:
    """A clock that was wrong, another log under the same name, and an older copy of the same."""
    horizon = Horizon()
    assert after_noon(horizon, 100, standing(100)) == 100
    assert after_noon(horizon, 50, standing(101)) == 50

    for other in (standing(200, oldest=20, log=b"other"), standing(200, oldest=20, cursor=b"4-0")):
        horizon = Horizon()
        assert after_noon(horizon, 100, standing(100)) == 100
        assert after_noon(horizon, 200, other) == 20


def test_what_waits_is_what_the_ledger_does_not_hold(
    store_url: str, client: redis.Redis, keys: Keys, fill: Fill
) -> None:
    """Also when it was applied since the ledger was read."""

    def read(cursor: bytes | None) -> Standing:
        async def ask() -> Standing:
            async with connect_async(store_url, part="test") as asking:
                connection = Connection(asking)
                try:
                    return await read_standing(connection, keys, cursor)
                finally:
                    await connection.close()

        return asyncio.run(ask())

    assert (read(None).oldest, read(None).caught_up, read(None).log_id) == (None, 0, None)
    add(client, keys, [saved()])
    entries: Any = client.xrange(keys.events)
    first: bytes = entries[0][0]
    assert read(None).oldest == pytest.approx(int(first.split(b"-")[0]) / 1000)

    fill([])
    assert read(None).oldest is not None
    found = read(first)
    assert (found.oldest, found.cursor, found.log_id) == (None, first, client.get(keys.id))
    assert found.asked - 60 < found.caught_up <= found.asked
    fill([saved()])
    found = read(first)
    assert found.oldest is not None
    assert found.caught_up == 0
