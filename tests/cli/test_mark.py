"""`etlog mark`: what people say of sets is put down, listed and removed, each in one step."""

import getpass
import json
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from etlog import marks
from etlog.__main__ import run
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.timestamps import from_nanoseconds, to_nanoseconds
from etlog_ledger.marks import Mark, encode, marks_of
from support.apis import apply
from support.servers import Server

DAY = 86400

Told = Callable[..., str]


def of_asset(start: str, end: str) -> bytes:
    """An event of a set of assets."""
    return Event.new("AssetSetSaved", size=1, window=(start, end)).encode()


@pytest.fixture
def put(own_log: None, capsys: pytest.CaptureFixture[str]) -> Told:
    """Puts a mark on the test's log. Returns what the command says on standard error."""

    def put(*arguments: str) -> str:
        assert run(["mark", *arguments, "--reason", "disk full"]) == 0
        return capsys.readouterr().err

    return put


@pytest.fixture
def refused(own_log: None, capsys: pytest.CaptureFixture[str]) -> Told:
    """The sentence with which the command refuses `arguments`."""

    def refused(*arguments: str, code: int = 2) -> str:
        assert run(["mark", *arguments]) == code
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        return printed.err.removeprefix("etlog: ").rstrip("\n")

    return refused


@pytest.fixture
def hours(store_url: str, keys: Keys) -> None:
    """The log holds the assets of three hours and of a day."""
    windows = [(f"2026-11-18T{n:02}:00:00Z", f"2026-11-18T{n + 1:02}:00:00Z") for n in (8, 9, 11)]
    days = [("2026-11-16T00:00:00Z", "2026-11-17T00:00:00Z")]
    apply(store_url, keys, [of_asset(*window) for window in windows + days])


def held(client: redis.Redis, keys: Keys) -> list[Mark]:
    """The marks of the log."""
    fields: Any = client.hgetall(keys.marks)
    return marks_of(fields)


def later(seconds: int, after: str) -> str:
    """A time so many seconds after another one."""
    return from_nanoseconds(to_nanoseconds(after) + seconds * 1_000_000_000)


def old_mark(number: int, **more: Any) -> Mark:
    """A mark from long ago."""
    fields = {"category": "asset", "kind": "waived", "reason": "r", "by": "b", "at": "2022-06-03T10:00:00Z"}
    return Mark(id=f"old-{number}", **{**fields, **more})


@pytest.mark.usefixtures("hours")
def test_a_mark_is_put_down_with_who_says_it_and_when(
    put: Told, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cadence in its usual spelling, times in UTC; by the clock of the store, for a day."""
    assert (
        put("asset", "acknowledged", "--every", "60m", "--stage", "Saved", "--from", "2026-11-18T09:00:00+01:00") == ""
    )

    [mark] = held(client, keys)
    assert re.fullmatch(r"[0-9a-f]{12}", mark.id)
    assert (mark.category, mark.kind, mark.reason) == ("asset", "acknowledged", "disk full")
    assert (mark.every, mark.stage, mark.from_, mark.to) == ("1h", "Saved", "2026-11-18T08:00:00Z", None)
    assert mark.by == f"{getpass.getuser()}@{socket.gethostname()}"
    seconds, _ = client.time()
    assert 0 <= seconds - to_nanoseconds(mark.at) // 1_000_000_000 < 60
    assert mark.until == later(DAY, mark.at)
    assert client.hget(keys.marks, "revision") == b"1"

    assert run(["mark", "list"]) == 0
    shown = capsys.readouterr().out.splitlines()[1]
    assert re.sub(r" +", " ", shown).startswith(
        f"{mark.id} asset Saved every 1h, from 2026-11-18T08:00:00Z: acknowledged until {mark.until} disk full ("
    )


@pytest.mark.usefixtures("hours")
@pytest.mark.parametrize(
    ("zone", "given", "start", "end"),
    [
        ("UTC", ("--set", "2026-11-18T09:00:00Z/2026-11-18T10:00:00Z"), "2026-11-18T09:00:00Z", "2026-11-18T10:00:00Z"),
        ("UTC", ("--set", "2026-11-18T09:00:00Z,2026-11-18T10:00:00Z"), "2026-11-18T09:00:00Z", "2026-11-18T10:00:00Z"),
        ("+02:00", ("--set", "2026-11-18/2026-11-19"), "2026-11-17T22:00:00Z", "2026-11-18T22:00:00Z"),
        (
            "Europe/Berlin",
            ("--from", "2026-10-25", "--to", "2026-10-26"),
            "2026-10-24T22:00:00Z",
            "2026-10-25T23:00:00Z",
        ),
    ],
)
def test_sets_are_named_by_times_or_dates(
    put: Told,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    given: tuple[str, ...],
    start: str,
    end: str,
) -> None:
    """A date is its first moment in the zone; `--set` is on that set alone."""
    monkeypatch.setenv("ETLOG_TIMEZONE", zone)
    put("asset", "waived", *given)

    [mark] = held(client, keys)
    assert (mark.from_, mark.to, mark.exact) == (start, end, given[0] == "--set")


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (("acknowledged",), DAY),
        (("repairing",), DAY),
        (("repairing", "--until", "2h"), 7200),
        (("waived",), None),
        (("retired",), None),
        (("expected-empty",), None),
        (("waived", "--until", "90s"), 90),
        (("waived", "--until", "45m"), 2700),
        (("waived", "--until", "3d"), 3 * DAY),
        (("waived", "--until", "2w"), 14 * DAY),
    ],
)
def test_what_says_that_someone_is_at_work_ends_after_a_day(
    put: Told, client: redis.Redis, keys: Keys, given: tuple[str, ...], seconds: int | None
) -> None:
    """All else has no end, but the one that is told."""
    put("asset", *given)

    [mark] = held(client, keys)
    assert mark.until == (None if seconds is None else later(seconds, mark.at))


def test_a_mark_on_sets_to_come_ends_a_day_after_them(put: Told, client: redis.Redis, keys: Keys) -> None:
    """A date ends it with its first moment; no end lies behind the calendar's."""
    put("asset", "repairing", "--from", "2999-01-01", "--to", "2999-01-03")
    put("asset", "repairing", "--from", "2999-02-01")
    put("asset", "repairing", "--to", "9999-12-31T23:59:59Z")
    put("asset", "repairing", "--until", "2999-03-01")

    assert {mark.until for mark in held(client, keys)} == {
        *("2999-01-04T00:00:00Z", "2999-02-02T00:00:00Z", "2999-03-01T00:00:00Z", None)
    }


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["assets", "waived"], "CATEGORY must be one of allocation, asset, lost-events, dead-letters, not 'assets'"),
        (["list", "waived"], "CATEGORY must be one of allocation"),
        (["asset", "fine"], "KIND must be one of expected-empty, waived, retired, repairing, acknowledged, not 'fine'"),
        (["asset", "waived", "--stage", "Reconcile"], "--stage must be one of Loaded, Saved, Aggregated, Totaled, Rec"),
        (["asset", "waived", "--stage", "ComputeError"], "--stage must be one of"),
        (["asset", "waived", "--every", "hourly"], "--every must be a length such as 15m, 1h, 1d, 1w or 1mo"),
        (
            ["asset", "waived", "--from", "2026-11-19", "--to", "2026-11-18"],
            "--from, 2026-11-19T00:00:00Z, must be bef",
        ),
        (
            ["asset", "waived", "--from", "2026-11-19", "--to", "2026-11-19"],
            "--from, 2026-11-19T00:00:00Z, must be bef",
        ),
        (["asset", "waived", "--set", "2026-11-19/2026-11-18"], "the start of --set, 2026-11-19T00:00:00Z, must be"),
        (["asset", "waived", "--set", "2026-11-19"], "--set must be the start and the end of a window, START/END"),
        (["asset", "waived", "--set", "1/2/3"], "--set must be the start and the end of a window, START/END"),
        (["asset", "waived", "--set", "2026-11-18/2026-11-19", "--to", "2026-11-18"], "give either --set, or --from"),
        (["asset", "waived", "--from", "2026-02-30"], "--from must be a time such as 2026-11-18T09:00:00Z or a date s"),
        (["asset", "waived", "--to", "2026-11-18T09:00:00"], "--to must be a time such as 2026-11-18T09:00:00Z or"),
        (
            ["asset", "waived", "--until", "2022-06-03"],
            "--until must be in the future, not 2022-06-03T00:00:00Z; it is",
        ),
        (["asset", "waived", "--until", "0h"], "--until must be in the future"),
        (
            ["asset", "waived", "--until", "soon"],
            "--until must be a time such as 2026-11-18T09:00:00Z or a date such as",
        ),
        (["asset", "waived", "--until", "999999999w"], "--until 999999999w is beyond the calendar"),
        (["asset", "waived", "--by", " "], "--by must not be empty"),
        (["asset", "waived", "--reason", " \n"], "--reason must not be empty"),
        (["asset", "waived", "--reason", "x" * 501], "--reason must have at most 500 characters, not 501"),
        (["asset", "waived", "--reason", "\udcff"], "--reason must be UTF-8"),
        (["lost-events", "waived"], "lost-events can only be acknowledged, not waived"),
        (["lost-events", "acknowledged", "--stage", "Saved"], "lost-events belong to no set: leave out --every"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    refused: Told, client: redis.Redis, keys: Keys, arguments: list[str], told: str
) -> None:
    """In a sentence that says what to write; nothing is put down."""
    reason = () if "--reason" in arguments else ("--reason", "disk full")

    assert refused(*arguments, *reason).startswith(told)
    assert not client.exists(keys.marks)


def test_a_category_may_be_called_like_a_command(
    put: Told, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kind behind it tells that it is one."""
    monkeypatch.setenv("ETLOG_CATEGORIES", "list=ListSet,remove=RemoveSet")
    put("list", "waived")
    put("remove", "retired", "--every", "1h")

    assert {mark.category for mark in held(client, keys)} == {"list", "remove"}
    assert run(["mark", "list", "--json"]) == 0
    assert {json.loads(line)["category"] for line in capsys.readouterr().out.splitlines()} == {"list", "remove"}


@pytest.mark.usefixtures("hours")
@pytest.mark.parametrize(
    ("given", "warning"),
    [
        ((), None),
        (("--every", "1h"), None),
        (("--every", "1d"), None),
        (("--every", "15m"), "the ledger holds no set of asset that comes every 15m, only every 1h, 1d"),
        (("--every", "1mo"), "the ledger holds no set of asset that comes every 1mo, only every 1h, 1d"),
        (("--every", "24h"), "the ledger holds no set of asset that comes every 24h, only every 1h, 1d"),
        (("--set", "2026-11-18T10:00:00Z/2026-11-18T11:00:00Z"), None),
        (("--set", "2026-11-18/2026-11-19"), None),
        (("--set", "2026-11-18T10:30:00Z/2026-11-18T11:30:00Z"), "no set of asset in the ledger has such a window"),
        (("--set", "2026-11-18T10:00:00Z/2026-11-18T12:00:00Z"), "no set of asset in the ledger has such a window"),
        (("--set", "2026-11-18/2026-11-19", "--every", "1h"), "no set of asset in the ledger has such a window"),
        (("--set", "0001-01-01/9999-12-31"), "no set of asset in the ledger has such a window"),
        (("--from", "2999-01-01"), None),
        (("--to", "2025-11-18"), "it ends before the oldest set of asset in the ledger begins"),
        (("--every", "1h", "--to", "2026-11-18"), "it ends before the oldest set of asset in the ledger begins"),
    ],
)
def test_a_mark_that_matches_no_set_is_kept_with_a_warning(
    put: Told, client: redis.Redis, keys: Keys, given: tuple[str, ...], warning: str | None
) -> None:
    """It may be a typing error. A set that is missing, or is to come, is in no ledger, and none."""
    told = put("asset", "waived", *given)

    assert (
        told == "" if warning is None else (told.startswith("Warning: this mark may match nothing") and warning in told)
    )
    assert len(held(client, keys)) == 1
    assert "the ledger holds no set of allocation yet" in put("allocation", "waived")


def test_losses_are_acknowledged_as_many_as_there_are(
    put: Told, refused: Told, client: redis.Redis, keys: Keys
) -> None:
    """For good, because they do not change. Where there are none, there is nothing to say."""
    client.hset(keys.stats, mapping={"lost": 3, "dead": 0})
    put("lost-events", "acknowledged")

    [mark] = held(client, keys)
    assert (mark.category, mark.count, mark.until) == ("lost-events", 3, None)
    told = refused("dead-letters", "acknowledged", "--reason", "r", code=1)
    assert told == f"log {keys.name} has no dead letters to acknowledge"


def test_a_mark_is_removed_by_its_id(
    put: Told, refused: Told, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no other; an id that is not there is an error."""
    put("asset", "waived")
    put("asset", "retired")
    first, second = held(client, keys)

    assert run(["mark", "remove", first.id]) == 0
    assert capsys.readouterr().out == f"{first.id} removed from log {keys.name}\n"
    assert held(client, keys) == [second]
    assert client.hget(keys.marks, "revision") == b"3"
    for other in (first.id, "revision"):
        told = refused("remove", other, code=1)
        assert told == f"log {keys.name} has no mark '{other}'; 'etlog mark list' shows them"
    assert client.hget(keys.marks, "revision") == b"3"


def test_what_two_people_put_at_once_is_all_kept(own_log: None, client: redis.Redis, keys: Keys) -> None:
    """And each is counted."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: marks.put(client, keys, old_mark(number), 0), range(40)))

    assert len(held(client, keys)) == 40
    assert client.hget(keys.marks, "revision") == b"40"


def test_a_log_has_at_most_a_thousand_marks(put: Told, refused: Told, client: redis.Redis, keys: Keys) -> None:
    """Whoever writes one removes those that ended more than 30 days ago."""
    old = [old_mark(number) for number in range(marks.MOST)]
    client.hset(keys.marks, mapping={mark.id: encode(mark) for mark in old})
    client.hset(keys.marks, "revision", 7)
    told = refused("asset", "waived", "--reason", "r", code=1)
    assert told == f"log {keys.name} has 1,000 marks, which is the limit; remove one that 'etlog mark list' shows"
    assert client.hget(keys.marks, "revision") == b"7"

    seconds, _ = client.time()
    recently, long_ago = (from_nanoseconds((seconds - days * DAY) * 1_000_000_000) for days in (29, 31))
    for number, until in ((1, recently), (2, long_ago), (3, long_ago)):
        client.hset(keys.marks, f"old-{number}", encode(old_mark(number, until=until)))
    put("asset", "waived")

    kept = {mark.id for mark in held(client, keys)}
    assert "old-1" in kept
    assert kept.isdisjoint({"old-2", "old-3"})
    assert len(kept) == marks.MOST - 1
    assert client.hget(keys.marks, "revision") == b"8"


def test_what_others_wrote_is_named_and_can_be_removed(
    put: Told, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """A number of changes that is none begins anew."""
    client.hset(keys.marks, mapping={b"foreign": b"{}", b"\xff": b"", b"revision": b"many"})
    put("asset", "waived")
    assert client.hget(keys.marks, "revision") == b"1"

    assert run(["mark", "list"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2
    assert printed.err == "".join(
        f"Warning: {keys.marks} holds no mark under '{name}'\n" for name in ("\\xff", "foreign")
    )
    for name in ("foreign", "\udcff"):
        assert run(["mark", "remove", name]) == 0
    assert len(held(client, keys)) == client.hlen(keys.marks) - 1 == 1


def test_a_key_of_another_type_is_an_error_and_stays(refused: Told, client: redis.Redis, keys: Keys) -> None:
    """Of every command."""
    client.set(keys.marks, "x")

    for arguments in (["list"], ["remove", "x"], ["asset", "waived", "--reason", "r"]):
        assert "WRONGTYPE" in refused(*arguments)
    assert client.get(keys.marks) == b"x"


def test_a_store_that_takes_nothing_says_so(
    refused: Told, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A replica and a full one; what is there can be listed."""
    monkeypatch.setenv("ETLOG_REDIS_URL", server.url)
    with redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", "1")
        assert "read only replica" in refused("asset", "waived", "--reason", "r")
        client.replicaof("NO", "ONE")
        client.config_set("maxmemory", 1)
        assert "maxmemory" in refused("asset", "waived", "--reason", "r")
    assert run(["mark", "list"]) == 0
    assert capsys.readouterr().out == "no marks\n"


def test_who_has_no_name_on_the_machine_is_named_by_a_number(
    put: Told, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container; and anyone may say who they are."""

    def unknown() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", unknown)
    put("asset", "waived")
    put("asset", "retired", "--by", "the night shift")

    named = {mark.kind: mark.by for mark in held(client, keys)}
    assert re.fullmatch(r"uid[0-9]+@.+", named["waived"])
    assert named["retired"] == "the night shift"


def test_what_a_mark_says_cannot_move_the_cursor(own_log: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor is a bracket markup."""
    assert run(["mark", "asset", "waived", "--reason", "\x1b[2J [bold]x"]) == 0

    assert run(["mark", "list"]) == 0
    assert "\\x1b[2J [bold]x" in capsys.readouterr().out
