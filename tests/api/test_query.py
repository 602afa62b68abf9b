"""What the parameters of a query mean, and which are refused."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from etlog_api.errors import BadQuery
from etlog_api.query import Queries, Query, parse_kinds
from etlog_events.errors import IllegalWindow
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.windows import holds_for_a_minute, parse_timezone, parse_window
from starlette.datastructures import QueryParams

ZONE = parse_timezone("Asia/Tokyo")


def query(text: str) -> Query:
    """The query that a URL spells."""
    return Queries(KUBECOST_KINDS, datetime.now).query(quote(text, safe="=&,+%").encode(), ZONE)


def test_nothing_asked_means_everything() -> None:
    """Empty parameters, and those that are not ours, ask for nothing."""
    assert (
        query("") == query("kind=&window=&limit=") == query("kind=,%20,&_=1&Limit=x&aggregate=a&aggregate=b") == Query()
    )


def test_equal_questions_are_equal() -> None:
    """So that the cache finds them, whatever their spelling."""
    assert query("kind=Saved,AssetSet&limit=07") == query("limit=7&kind=AssetSet,%20Saved")
    assert query("window=1654250400,1654254000") == query("window=2022-06-03T10:00:00Z,2022-06-03T11:00:00Z")


def test_a_kind_is_any_text_in_its_name() -> None:
    """What no kind contains is found out, in the case in which it was given."""
    assert parse_kinds(QueryParams("kind=TotaledX,tSetTo,saved"), KUBECOST_KINDS) == (
        frozenset({"AssetSetTotaled"}),
        ("TotaledX", "saved"),
    )


def test_the_zone_is_what_the_clock_is_asked_with() -> None:
    """`today` begins where `ETLOG_TIMEZONE` says."""
    asked = []

    def clock(zone: object) -> datetime:
        asked.append(zone)
        return datetime(2022, 6, 3, 1, tzinfo=ZONE)

    found = Queries(KUBECOST_KINDS, clock).query(b"window=today", ZONE).window

    assert asked == [ZONE]
    assert found is not None
    assert found.start is not None
    assert found.start.isoformat() == "2022-06-02T15:00:00+00:00"


@pytest.mark.parametrize("name", ["kind", "window", "limit"])
def test_a_parameter_given_twice_is_refused(name: str) -> None:
    """No one can know which was meant."""
    with pytest.raises(BadQuery, match=f"the parameter {name} is given 3 times; give it once"):
        query(f"{name}=1&{name}=&{name}=1")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "\u0663", "1" * 10, "1e3", " 1"])
def test_a_limit_that_is_no_number_is_refused(text: str) -> None:
    """It must be a whole number of at least 1."""
    with pytest.raises(BadQuery) as raised:
        query(f"limit={text}")

    assert str(raised.value) == f"limit must be a whole number of at least 1, not {text!r}"


@pytest.mark.parametrize("text", ["7y", "yesteryear", "2022-06-03T10:00:00Z", "a,b", "\ufffd", "x" * 2000, "24h "])
def test_an_illegal_window_is_refused_in_the_words_of_opencost(text: str) -> None:
    """However long it is."""
    with pytest.raises(IllegalWindow) as raised:
        query(f"window={text}")

    assert str(raised.value) == f"illegal window: {text}"


def test_a_window_moves_on_with_the_clock() -> None:
    """Each minute where it is rounded, at once where it ends now; in between, the same question is the same object."""
    now = datetime(2022, 6, 3, 10, 59, 59, tzinfo=ZONE)
    queries = Queries(KUBECOST_KINDS, lambda _: now)

    def start(text: bytes) -> datetime:
        window = queries.query(text, ZONE).window
        assert window is not None
        assert window.start is not None
        return window.start

    assert queries.query(b"window=24h", ZONE) is queries.query(b"window=24h", ZONE)
    assert [start(b"window=24h").hour, start(b"window=1m").minute] == [2, 59]
    assert start(b"window=1h offset 1h").second == 59
    now += timedelta(seconds=1)
    assert [start(b"window=24h").hour, start(b"window=1m").minute] == [3, 0]
    assert start(b"window=1h offset 1h").second == 0


@pytest.mark.parametrize("text", ["today", "yesterday", "lastweek", "lastmonth", "15m", "24h", "7d", "2w"])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Kathmandu", "America/New_York"])
def test_a_window_that_holds_for_a_minute_does(text: str, zone: str) -> None:
    """At each end of the minute, on the days on which clocks change too."""
    assert holds_for_a_minute(text)
    for minute in range(0, 366 * 24 * 60, 7 * 60 + 1):
        at = datetime(2022, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
        first, last = (parse_window(text, now=moment.astimezone(parse_timezone(zone))) for moment in (at, at + _MOST))
        assert first == last


_MOST = timedelta(seconds=59, microseconds=999_999)
