"""What the parameters of a query mean, and which are refused."""

from datetime import datetime
from urllib.parse import quote

import pytest
from etlog_api.query import BadQuery, Queries, Query, parse_kinds
from etlog_events.errors import IllegalWindow
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.windows import parse_timezone
from starlette.datastructures import QueryParams

ZONE = parse_timezone("Asia/Tokyo")


def query(text: str) -> Query:
    """The query that a URL spells."""
    return Queries(KUBECOST_KINDS, ZONE, datetime.now).query(quote(text, safe="=&,+%").encode())


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

    found = Queries(KUBECOST_KINDS, ZONE, clock).query(b"window=today").window

    assert asked == [ZONE]
    assert found is not None
    assert found.start is not None
    assert found.start.isoformat() == "2022-06-02T15:00:00+00:00"


@pytest.mark.parametrize("name", ["kind", "window", "limit"])
def test_a_parameter_given_twice_is_refused(name: str) -> None:
    """Which of the two was meant, nobody knows."""
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
