"""The verdict of a replica: of now, or as of when all was applied; read and judged once for all who ask."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import Any, ClassVar

import pytest
import redis
from etlog_api.log import log
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_ledger.marks import Mark
from etlog_ledger.reading import coverage, ledger
from etlog_ledger.reading.replication_link import ReplicationLink
from etlog_ledger.row import Row
from etlog_ledger.verdict import STATES, CellVerdict, Habit, Problem, SetVerdict, Span, Verdict, WindowlessErrors
from support.apis import Api, Fill, Serving, add, apply
from support.consumers import CaughtUp, Consuming
from support.servers import Server, wait_until

PATH = "/model/etl/coverage"

#: The hour from which there are sets, and the one at whose end they are judged at first.
FIRST = datetime(2022, 6, 3, tzinfo=UTC)
NOON = datetime(2022, 6, 3, 12, tzinfo=UTC)

HOUR = timedelta(hours=1)


def spelled(moment: datetime) -> str:
    """As everywhere."""
    return moment.isoformat().replace("+00:00", "Z")


def window(hour: int) -> Span:
    """The window of the set of an hour."""
    return Span(spelled(FIRST + hour * HOUR), spelled(FIRST + (hour + 1) * HOUR))


def saved(hour: int, prefix: str = "AllocationSet", action: str = "Saved", **more: Any) -> bytes:
    """An event of the set of an hour, right at its end."""
    of = window(hour)
    return Event.new(prefix + action, size=1, window=(of.start, of.end), time=of.end, **more).encode()


class HourlySeries:
    """Sets of every hour since `FIRST`: each stage is done, missing where a later one is, stopped behind the last."""

    every, length = "1h", None
    delay: Mapping[str, Any] = {}
    duration: Mapping[str, Any] = {}

    def __init__(self, category: str, rows: Mapping[str, Row], hours: int) -> None:
        self.category = category
        self.stages = sorted({stage for interval, row in rows.items() if interval != "-" for stage in row})
        self.habits = dict.fromkeys(self.stages, Habit(0.0))
        self.found: list[SetVerdict] = []
        self.counts: dict[str, dict[str, int]] = {stage: {} for stage in self.stages}
        held = {hour: rows.get(f"{window(hour).start}/{window(hour).end}", {}) for hour in range(hours)}
        for hour, row in held.items():
            cells = {}
            for stage in self.stages:
                later = any(stage in held[after] for after in range(hour, hours))
                state = "done" if stage in row else "missing" if later else "stopped"
                self.counts[stage][state] = self.counts[stage].get(state, 0) + 1
                size = row[stage].size if stage in row else None
                if size == 0:
                    self.counts[stage]["unusual"] = self.counts[stage].get("unusual", 0) + 1
                cells[stage] = CellVerdict(state, size=size, unusual=size == 0)  # type: ignore[arg-type]
            self.found.append(SetVerdict(window(hour), cells))

    def sets(
        self, *, newest: int | None = None, start: float | None = None, end: float | None = None
    ) -> list[SetVerdict]:
        """Those that are asked for."""
        found = [
            each
            for each in self.found
            if (end is None or datetime.fromisoformat(each.window.start).timestamp() < end)
            and (start is None or datetime.fromisoformat(each.window.end).timestamp() > start)
        ]
        return found if newest is None else found[-newest:]


class HourlyJudge:
    """Stands in for the judge, by rules that a test can foretell: a problem for each stage that is not done."""

    judged: ClassVar[list[tuple[Sequence[Mark], datetime]]] = []
    mistake: Exception | None = None

    def __init__(self, kinds: Kinds, zone: tzinfo, expectations: Sequence[Any], keep: int) -> None:
        self._kinds = kinds

    def judge(self, rows: Mapping[str, Mapping[str, Row]], marks: Sequence[Mark], now: datetime) -> Verdict:
        """The verdict."""
        self.judged.append((marks, now))
        if self.mistake is not None:
            raise self.mistake
        hours = (now - FIRST) // HOUR
        series: list[Any] = [HourlySeries(category, of, hours) for category, of in rows.items() if of.keys() - {"-"}]
        summary = dict.fromkeys((*STATES, "unusual"), 0)
        problems = []
        for each in series:
            for stage, counts in each.counts.items():
                for state, number in counts.items():
                    summary[state] += number
                    if state in {"missing", "stopped"}:
                        problems.append(self._problem(each.category, stage, state, number))
        errors = [
            WindowlessErrors(category, self._kinds.categories[category] + name, cell.n, cell.last, cell.error)
            for category, of in rows.items()
            for name, cell in of.get("-", {}).items()
        ]
        return Verdict(now.timestamp(), summary, problems, errors, series, {})

    @staticmethod
    def _problem(category: str, stage: str, state: Any, number: int) -> Problem:
        return Problem(
            id=f"{category}-{stage}-{state}",
            category=category,
            every="1h",
            stages=[stage],
            state=state,
            sets=number,
            last_done=None,
            usual_delay=None,
            mark=None,
            from_=spelled(FIRST),
            to=spelled(NOON),
            since=spelled(NOON),
            text=f"{stage} {state}",
        )


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self, zone: tzinfo) -> datetime:
        return self.now.astimezone(zone)


@pytest.fixture
def now() -> Clock:
    """Noon."""
    return Clock()


@pytest.fixture(autouse=True)
def judged(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Sequence[Mark], datetime]]:
    """What was judged; every request reads anew."""
    found: list[tuple[Sequence[Mark], datetime]] = []
    monkeypatch.setattr(log, "Judge", HourlyJudge)
    monkeypatch.setattr(HourlyJudge, "judged", found)
    monkeypatch.setattr(coverage, "AGAIN", 0.0)
    return found


@pytest.fixture
def api(serving: Serving, now: Clock) -> Iterator[Api]:
    """The API on the test's log, at noon."""
    with serving(clock=now) as api:
        yield api


def data(api: Api, **parameters: str) -> dict[str, Any]:
    """What the verdict says."""
    answer = api.get(PATH, params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["data"]
    return found


def is_of_now(api: Api) -> bool:
    """Whether there is a verdict that is not suspended."""
    answer = api.get(PATH)
    return answer.status_code == 200 and answer.json()["data"]["suspended"] is None


def states(of: dict[str, Any]) -> dict[str, int]:
    """The summary without what there is not."""
    return {state: number for state, number in of["summary"].items() if number}


def shown(of: dict[str, Any]) -> dict[str, list[tuple[int, dict[str, str]]]]:
    """Category -> hour and states of each set that is shown."""
    return {
        series["category"]: [
            (
                int(each["window"]["start"][11:13]),
                {stage: cell["state"] for stage, cell in each["stages"].items()},
            )
            for each in series["sets"]
        ]
        for series in of["series"]
    }


def test_a_verdict_says_of_what_and_as_of_when(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """Problems, series and sets as they were judged, in the envelope; nothing yet in an empty log."""
    assert data(api)["cursor"] is None
    fill([saved(hour) for hour in range(11)])

    found = data(api)

    cursor: Any = client.get(keys.cursor)
    assert (found["log"], found["now"], found["zone"]) == (keys.name, "2022-06-03T12:00:00Z", "UTC")
    assert (found["cursor"], found["suspended"]) == (cursor.decode(), None)
    assert states(found) == {"done": 11, "stopped": 1}
    [problem] = found["problems"]
    assert (problem["stages"], problem["state"], problem["lastDone"], problem["mark"]) == (
        ["Saved"],
        "stopped",
        None,
        None,
    )
    [series] = found["series"]
    assert (series["every"], series["habits"]) == ("1h", {"Saved": {"due": 0.0}})
    assert "length" not in series
    assert series["sets"][0] == {
        "window": {"start": "2022-06-03T00:00:00Z", "end": "2022-06-03T01:00:00Z"},
        "stages": {"Saved": {"state": "done", "size": 1}},
    }


def test_a_consumer_that_is_down_makes_nothing_missing(
    api: Api, now: Clock, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """The verdict stays that of when all was applied, and says so; with the consumer it is of now again."""
    add(client, keys, [saved(hour) for hour in range(12)])
    with consuming():
        caught_up()
    assert states(data(api)) == {"done": 12}
    add(client, keys, [saved(12)])

    now.now += timedelta(seconds=50)
    assert data(api)["suspended"] is None
    now.now = NOON + 2 * HOUR
    found = data(api)
    assert (states(found), found["now"]) == ({"done": 12}, "2022-06-03T12:00:00Z")
    assert found["suspended"].startswith("events published at 20")
    assert found["suspended"].endswith(
        "Z and later have not been applied: this is the verdict as of 2022-06-03T12:00:00Z; "
        "see that a consumer runs and keeps up"
    )
    assert api.get(PATH).headers["ETag"] == api.get(PATH).headers["ETag"]

    with consuming():
        caught_up()
    found = data(api)
    assert (states(found), found["now"]) == ({"done": 13, "stopped": 1}, "2022-06-03T14:00:00Z")
    assert found["suspended"] is None


def test_where_nothing_waits_a_consumer_that_is_down_changes_nothing(
    api: Api, now: Clock, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """All that was published is known, so what did not come is missing."""
    add(client, keys, [saved(11)])
    with consuming():
        caught_up()
    assert data(api)["suspended"] is None

    now.now = NOON + 2 * HOUR

    found = data(api)
    assert (found["now"], found["suspended"]) == ("2022-06-03T14:00:00Z", None)
    assert states(found)["stopped"] == 2


def test_a_store_that_refuses_is_not_called_unreachable(
    serving: Serving, client: redis.Redis, keys: Keys, store_url: str, now: Clock
) -> None:
    """Someone put something else where the marks are: the last verdict stands, and says why."""
    apply(store_url, keys, [saved(hour) for hour in range(12)])
    with serving(clock=now) as api:
        assert states(data(api)) == {"done": 12}
        client.set(keys.marks, "x")

        wait_until(lambda: "warning" in api.get(PATH).json())
        assert api.get(PATH).json()["warning"].startswith("the store has refused to be read since 20")
        now.now = NOON + 2 * HOUR
        wait_until(lambda: data(api)["suspended"] is not None)
        assert "; it says: WRONGTYPE" in data(api)["suspended"]


@pytest.mark.timed
def test_the_last_verdict_stands_while_the_store_is_away(
    serving: Serving, server: Server, keys: Keys, now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a warning at once, and suspended when it is a minute old; without a verdict there is none to give."""
    monkeypatch.setattr(log, "ANSWER_TIMEOUT", 0.3)
    apply(server.url, keys, [saved(hour) for hour in range(12)])
    with serving(redis_url=server.url, clock=now) as api, serving(redis_url=server.url, clock=now) as late:
        assert states(data(api)) == {"done": 12}
        for away in (server.stop, server.kill):
            away()
            answer = api.get(PATH)
            assert answer.elapsed.total_seconds() < 2
            assert answer.json()["data"]["suspended"] is None
            assert answer.json()["warning"].startswith("the store has been unreachable since 20")
            assert answer.json()["warning"].endswith("Z: this is the verdict as of 2022-06-03T12:00:00Z")
            now.now = NOON + 2 * HOUR
            answer = api.get(PATH)
            assert answer.elapsed.total_seconds() < 2
            found = answer.json()["data"]
            assert "warning" not in answer.json()
            assert (states(found), found["now"]) == ({"done": 12}, "2022-06-03T12:00:00Z")
            assert found["suspended"].startswith("the store has been unreachable since 20")
            assert found["suspended"].endswith("as of 2022-06-03T12:00:00Z; see that it can be reached")
            now.now = NOON
        answer = late.get(PATH)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert "cannot be reached" in answer.json()["message"]

        server.start()
        now.now = NOON + 2 * HOUR
        for each in (api, late):
            wait_until(partial(is_of_now, each))
            assert states(data(each)) == {"done": 12, "stopped": 2}


def test_a_replica_of_the_store_without_its_primary_is_as_old_as_that(
    serving: Serving, fill: Fill, now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has everything that it was sent, and who knows what it was not."""
    fill([saved(hour) for hour in range(12)])
    link = {"role": "slave", "master_link_status": "up"}
    monkeypatch.setattr(ReplicationLink, "note", lambda self, _: setattr(self, "down_since", since()))

    def since() -> float | None:
        return None if link["master_link_status"] == "up" else datetime.now(UTC).timestamp() - 3600

    with serving(clock=now, read_from="replica") as api:
        assert data(api)["now"] == "2022-06-03T12:00:00Z"
        link["master_link_status"] = "down"
        now.now += HOUR
        found = data(api)
        assert (found["now"], states(found)) == ("2022-06-03T12:00:00Z", {"done": 12})
        assert "a replica of the store that lost its primary at 20" in found["suspended"]


def test_another_log_under_the_name_is_another_verdict(
    api: Api, fill: Fill, now: Clock, client: redis.Redis, keys: Keys
) -> None:
    """After FLUSHALL nothing is known."""
    fill([saved(hour) for hour in range(12)])
    assert states(data(api)) == {"done": 12}
    client.delete(*client.scan_iter(match=keys.events.replace("events", "*"), count=1000))

    found = data(api)

    assert (states(found), found["problems"], found["series"]) == ({}, [], [])


def test_marks_are_read_again_when_they_changed(
    api: Api, fill: Fill, judged: list[tuple[Sequence[Mark], datetime]], client: redis.Redis, keys: Keys
) -> None:
    """What else is in their hash is left out, and a change of it that leaves the same marks is none."""
    fill([saved(11)])
    data(api)
    assert len(judged[-1][0]) == 0
    mark = b'{"id":"%b","category":"asset","kind":"waived","reason":"r","by":"me","at":"2022-06-03T1%b:00:00Z"}'

    def put(**fields: bytes) -> list[str]:
        for name, text in fields.items():
            client.hset(keys.marks, name, text)
        client.hincrby(keys.marks, "revision", 1)
        data(api)
        return [given.id for given in judged[-1][0]]

    assert put(b=mark % (b"b", b"1")) == ["b"]
    assert put(a=mark % (b"a", b"2")) == ["b", "a"]
    number = len(judged)
    put(c=b"no mark", d=b'{"id":"d"}', e=b"\xff", f=b"[" * 5000, g=(mark % (b"g", b"2")).replace(b"waived", b"why"))
    assert len(judged) == number
    client.hdel(keys.marks, "b")
    data(api)
    assert [found.id for found in judged[-1][0]] == ["a"]


def incident(first: str, last: str, *targets: str, stage: str = "Saved", hours: tuple[int, int] = (0, 12)) -> str:
    """An incident of allocation as a watcher keeps it: these targets were told at these times."""
    sets = {"category": "allocation", "every": "1h", "stages": [stage]}
    sets |= {"from": window(hours[0]).start, "to": window(hours[1] - 1).end}
    told = {key: {"ids": ["i"], "first": first, "at": last, "states": ["stopped"]} for key in targets}
    fault = {"state": "stopped", "text": "", "since": "", **sets}
    return json.dumps({"id": "i", "opened": first, "changed": first, "faults": [fault], "told": told})


def test_each_problem_says_when_people_were_told(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """By what watchers keep; and another answer has another tag, though nothing was judged anew."""
    fill([saved(hour) for hour in range(11)])
    found = data(api)
    assert (found["watched"], found["problems"][0]["told"]) == (False, None)
    judged = len(HourlyJudge.judged)

    client.hset(keys.incidents, "watcher", "w 1")
    found, tag = data(api), api.get(PATH).headers["ETag"]
    assert (found["watched"], found["problems"][0]["told"]) == (True, None)

    def note(text: str) -> Any:
        client.hset(keys.incidents, "incident:i", text)
        client.hincrby(keys.incidents, "revision", 1)
        return data(api)["problems"][0]["told"]

    moment = "2022-06-03T12:00:30.123456Z"
    assert note(incident(moment, moment, "a")) == {
        **{"first": "2022-06-03T12:00:30Z", "last": "2022-06-03T12:00:30Z", "targets": 1},
    }
    answer = api.get(PATH, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.headers["ETag"] != tag) == (200, True)
    tag = answer.headers["ETag"]
    assert note(incident(moment, "2022-06-03T13:00:00Z", "a", "b")) == {
        **{"first": "2022-06-03T12:00:30Z", "last": "2022-06-03T13:00:00Z", "targets": 2},
    }
    assert api.get(PATH).headers["ETag"] != tag
    assert note(incident(moment, moment, "a", stage="Loaded")) is None
    assert note("no incident") is None
    client.delete(keys.incidents)
    assert data(api)["watched"] is False
    assert len(HourlyJudge.judged) == judged


def test_what_watchers_keep_is_read_again_only_when_it_changed(
    api: Api, fill: Fill, client: redis.Redis, keys: Keys
) -> None:
    """A watcher that holds its place writes there every few seconds, and changes nothing."""
    fill([saved(hour) for hour in range(11)])
    moment = "2022-06-03T12:00:30Z"
    client.hset(keys.incidents, mapping={"watcher": "w 1", "revision": 1, "incident:i": incident(moment, moment, "a")})
    tag = api.get(PATH).headers["ETag"]

    def calls() -> int:
        stats: Any = client.info("commandstats")
        return int(stats["cmdstat_hgetall"]["calls"])

    before = calls()
    for number in range(3):
        client.hset(keys.incidents, "watcher", f"w {number}")
        assert api.get(PATH, headers={"If-None-Match": tag}).status_code == 304
    assert calls() == before

    client.hincrby(keys.incidents, "revision", 1)  # of a message
    assert api.get(PATH, headers={"If-None-Match": tag}).status_code == 304
    assert calls() == before + 1


def test_something_else_in_the_place_of_incidents_does_not_matter(
    api: Api, fill: Fill, client: redis.Redis, keys: Keys
) -> None:
    """The verdict is there all the same, over the same connection, and then nothing is known of who was told."""
    fill([saved(hour) for hour in range(11)])
    client.hset(keys.incidents, mapping={"revision": 1, "incident:i": incident(*["2022-06-03T12:00:30Z"] * 2, "a")})
    assert data(api)["problems"][0]["told"] is not None
    client.delete(keys.incidents)
    client.set(keys.incidents, "x")

    def connections() -> int:
        stats: Any = client.info("stats")
        return int(stats["total_connections_received"])

    before = connections()
    for _ in range(3):
        found = api.get(PATH).json()
        assert ("warning" in found, found["data"]["watched"], found["data"]["problems"][0]["told"]) == (
            *(False, False),
            None,
        )
    assert connections() == before

    client.delete(keys.incidents)
    client.hset(keys.incidents, mapping={"revision": 1, "incident:i": incident(*["2022-06-03T12:00:30Z"] * 2, "a")})
    assert data(api)["problems"][0]["told"] is not None


def test_it_is_judged_anew_only_when_something_changed(
    api: Api, fill: Fill, now: Clock, judged: list[tuple[Sequence[Mark], datetime]]
) -> None:
    """An event, or ten seconds more; for all who ask at the same time, once."""
    fill([saved(11)])
    data(api)
    number = len(judged)
    for _ in range(3):
        data(api, category="asset")
    assert len(judged) == number
    now.now += timedelta(seconds=9)
    data(api)
    assert len(judged) == number
    now.now += timedelta(seconds=1)
    data(api)
    assert len(judged) == number + 1
    fill([saved(10)])

    with ThreadPoolExecutor(8) as pool:
        found = {answer.content for answer in pool.map(api.get, [PATH] * 16)}

    assert (len(judged), len(found)) == (number + 2, 1)


def test_the_requests_of_a_second_share_one_reading(
    api: Api, fill: Fill, now: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the clock is set meanwhile."""
    monkeypatch.setattr(coverage, "AGAIN", 3600.0)
    fill([saved(10)])
    assert states(data(api)) == {"done": 1, "missing": 10, "stopped": 1}

    fill([saved(11)])
    assert states(data(api))["done"] == 1
    now.now += timedelta(seconds=11)
    assert states(data(api))["done"] == 2


def test_a_large_ledger_is_read_on_from_request_to_request(
    api: Api, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has waited long enough is told to ask again, and nothing is read twice."""
    fill([saved(hour) for hour in range(12)])
    reads: list[ledger.LedgerReader] = []
    may_end = threading.Event()
    read = ledger.LedgerReader.read

    async def slowly(self: ledger.LedgerReader) -> ledger.Ledger:
        reads.append(self)
        await asyncio.to_thread(may_end.wait)
        return await read(self)

    monkeypatch.setattr(ledger.LedgerReader, "read", slowly)
    monkeypatch.setattr(coverage, "QUESTION_TIMEOUT", 0.05)
    for _ in range(3):
        answer = api.get(PATH)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json()["message"].endswith("is being read; ask again in a few seconds")
    assert len(reads) == 1
    may_end.set()
    monkeypatch.setattr(coverage, "QUESTION_TIMEOUT", 10)

    assert states(data(api)) == {"done": 12}
    assert len(reads) <= 2


def test_a_mistake_of_the_judge_is_no_verdict(api: Api, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the one before, which may be wrong by now."""
    fill([saved(11)])
    data(api)
    monkeypatch.setattr(HourlyJudge, "mistake", ZeroDivisionError("a mistake"))
    fill([saved(10)])
    answer = api.get(PATH)
    assert (answer.status_code, answer.json()["code"]) == (500, 500)

    monkeypatch.setattr(HourlyJudge, "mistake", None)
    assert states(data(api))["done"] == 2


def test_a_log_of_another_contract_is_not_judged(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """Not even as it was."""
    fill([saved(11)])
    data(api)
    client.set(keys.contract, 3)

    answer = api.get(PATH)

    assert answer.status_code == 503
    assert "follows contract 3" in answer.json()["message"]


def test_replicas_give_the_same_verdict(serving: Serving, fill: Fill, now: Clock) -> None:
    """Byte for byte, with the same tag, by which a client learns that nothing changed, in every coding."""
    fill([saved(hour, prefix) for hour in range(11) for prefix in ("AllocationSet", "AssetSet")])
    with serving(clock=now) as one, serving(clock=now) as other:
        answer = one.get(PATH)
        again = other.get(PATH, headers={"Accept-Encoding": "identity"})
        assert again.content == answer.content
        assert (answer.headers["Content-Encoding"], "Content-Encoding" in again.headers) == ("zstd", False)
        tag = answer.headers["ETag"]
        for api in (one, other):
            unchanged = api.get(PATH, headers={"If-None-Match": tag})
            assert (unchanged.status_code, unchanged.content) == (304, b"")
            head = api.client.head(PATH)
            assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", tag)
        fill([saved(11)])
        assert one.get(PATH, headers={"If-None-Match": tag}).status_code == 200


#: The problems of a log.
WRONG = {"allocation-Saved-missing", "asset-Totaled-stopped"}

#: Parameters; the problems that are shown, how many errors, and how many sets of each category.
FILTERS: list[tuple[dict[str, str], set[str], int, dict[str, int]]] = [
    ({}, WRONG, 1, {"allocation": 12, "asset": 12}),
    ({"category": "", "stage": "", "state": "", "window": ""}, WRONG, 1, {"allocation": 12, "asset": 12}),
    ({"category": "asset"}, {"asset-Totaled-stopped"}, 1, {"asset": 12}),
    ({"category": "allocation , asset"}, WRONG, 1, {"allocation": 12, "asset": 12}),
    ({"category": "allocation"}, {"allocation-Saved-missing"}, 0, {"allocation": 12}),
    ({"stage": "Totaled"}, {"asset-Totaled-stopped"}, 1, {"asset": 12}),
    ({"stage": "Reconciled"}, set(), 1, {}),
    ({"state": "missing"}, {"allocation-Saved-missing"}, 0, {"allocation": 1}),
    ({"state": "missing,stopped"}, WRONG, 0, {"allocation": 1, "asset": 3}),
    ({"state": "failed"}, set(), 1, {}),
    ({"state": "unusual"}, set(), 0, {"allocation": 1}),
    ({"state": "stopped", "stage": "Saved"}, set(), 0, {}),
    ({"window": "2022-06-03T10:30:00Z,2022-06-03T11:00:00Z"}, WRONG, 1, {"allocation": 1, "asset": 1}),
    ({"window": "3h"}, WRONG, 1, {"allocation": 2, "asset": 2}),
    ({"window": ",2022-06-03T02:00:00Z", "category": "asset"}, {"asset-Totaled-stopped"}, 1, {"asset": 2}),
    ({"window": "yesterday"}, WRONG, 1, {}),
    ({"window": "2022-06-03T11:00:00Z,", "state": "stopped"}, {"asset-Totaled-stopped"}, 0, {"asset": 1}),
    ({"other": "x"}, WRONG, 1, {"allocation": 12, "asset": 12}),
]


def test_filters_choose_what_is_shown(api: Api, fill: Fill) -> None:
    """Never what is judged: the summary is that of the whole log.

    Allocation was not saved at 5, and with a size of 0 at 7; asset was not totaled since 9, and one of its errors names
    no window.
    """
    of = window(7)
    empty = Event.new("AllocationSetSaved", size=0, window=(of.start, of.end), time=of.end).encode()
    windowless = Event.new("AssetSetComputeError", error="no disk", time="2022-06-03T03:00:00Z").encode()
    fill([*(saved(hour) for hour in range(12) if hour not in {5, 7}), empty, windowless])
    fill([saved(hour, "AssetSet") for hour in range(12)] + [saved(hour, "AssetSet", "Totaled") for hour in range(9)])
    summary = {"done": 32, "missing": 1, "stopped": 3, "unusual": 1}

    for parameters, problems, errors, sets in FILTERS:
        found = data(api, **parameters)
        assert states(found) == summary
        assert {problem["id"] for problem in found["problems"]} == problems, parameters
        assert len(found["errors"]) == errors, parameters
        assert {category: len(some) for category, some in shown(found).items()} == sets, parameters
        if stage := parameters.get("stage"):
            assert all(cells.keys() == {stage} for some in shown(found).values() for _, cells in some)
            assert all(series["stages"] == [stage] == list(series["habits"]) for series in found["series"])


def test_without_a_window_the_newest_sets_are_shown(api: Api, now: Clock, fill: Fill) -> None:
    """48 of each series, or of those in a state; with a window, all that overlap it."""
    fill([saved(hour) for hour in range(0, 200, 2)])
    now.now = FIRST + 200 * HOUR

    def starts(**parameters: str) -> list[str]:
        [series] = data(api, **parameters)["series"]
        return [each["window"]["start"] for each in series["sets"]]

    assert starts() == [window(hour).start for hour in range(152, 200)]
    assert starts(state="missing") == [window(hour).start for hour in range(103, 199, 2)]
    assert len(starts(window="2022-06-01T00:00:00Z,")) == 200


#: Query and message.
BAD = [
    ("category=assets", "category must be one of allocation, asset, or several with commas, not 'assets'"),
    ("category=asset,", "category must be one of allocation, asset, or several with commas, not ''"),
    (
        "stage=ComputeError",
        "stage must be one of Loaded, Saved, Aggregated, Totaled, Reconciled, or several with commas, "
        "not 'ComputeError'",
    ),
    (
        "state=done,Failed",
        "state must be one of done, recovered, failed, missing, stopped, due, waived, unusual, or several with "
        "commas, not 'Failed'",
    ),
    ("window=7y", "illegal window: 7y"),
    ("window=1h&window=1h", "the parameter window is given 2 times; give it once"),
    ("stage=Saved&stage=Saved", "the parameter stage is given 2 times; give it once"),
    ("log=a&log=b", "the parameter log is given 2 times; give it once"),
]


def test_what_cannot_be_understood_is_told(api: Api) -> None:
    """With what is allowed."""
    for query, message in BAD:
        answer = api.get(f"{PATH}?{query}")
        assert (answer.status_code, answer.json()) == (400, {"code": 400, "message": message})


def test_an_unknown_log_has_no_verdict(api: Api) -> None:
    """As for all that is asked of a log."""
    assert api.get(f"{PATH}?log=unknown").status_code == 404
