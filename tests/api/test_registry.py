"""One API serves many logs, each to those who may see it."""

import io
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
import redis
from etlog_api import status as statuses
from etlog_events.keys import Keys
from support.apis import Api, Serving, add, apply, tail
from support.samples import saved
from support.servers import wait_until

ALL, TENANT, ELSEWHERE = "the-token-for-all-logs", "the-token-for-one-log", "the-token-for-no-log-here"

PATHS = ["/model/etl/log", "/model/etl/log/stream", "/model/etl/status", "/model/etl/bugreport"]


@pytest.fixture
def names(store_url: str, client: redis.Redis, keys: Keys) -> Iterator[list[str]]:
    """Three logs, gone after the test; the first has an event of size 1, the second one of size 2, the last none."""
    names = [keys.name, f"{keys.name}-b", f"{keys.name}-c"]
    for size, name in enumerate(names[:2], 1):
        apply(store_url, Keys(name), [saved(size)])
    yield names
    for name in names[1:]:
        for key in client.scan_iter(match=Keys(name).events.replace("events", "*"), count=1000):
            client.delete(key)


@pytest.fixture
def many(serving: Serving, names: list[str]) -> Iterator[Api]:
    """Serves them, the second as the default, with a token for all, one for the two others, and one for none."""
    tokens = (ALL, f"{TENANT}:{names[2]}+{names[0]}+not-here", f"{ELSEWHERE}:not-here")
    with serving(name=names[1], names=tuple(names), api_token=tokens) as api:
        yield api


def get(api: Api, path: str, token: str = ALL, **parameters: Any) -> httpx.Response:
    """An answer for one with a token."""
    return api.get(path, headers={"Authorization": f"Bearer {token}"}, params=parameters)


def sizes(answer: httpx.Response) -> list[int]:
    """The sizes in an answer of the log."""
    return [event["metadata"]["size"] for event in answer.json()["data"]["allocation"]]


def test_each_log_is_asked_for_by_its_name(many: Api, names: list[str]) -> None:
    """Without a name it is the default log; each has its answer and its status."""
    ask = partial(get, many, "/model/etl/log")
    assert [sizes(ask(log=name)) for name in names] == [[1], [2], []]
    assert sizes(ask()) == sizes(ask(log="")) == [2]
    assert sizes(ask(log=names[0], kind="Asset")) == []

    status = partial(get, many, "/model/etl/status")
    assert [status(log=name).json()["data"]["entries"] for name in names] == [1, 1, 0]
    assert status().json()["data"]["cursor"] == status(log=names[1]).json()["data"]["cursor"]


def test_each_log_has_its_own_live_tail(serving: Serving, names: list[str], store_url: str) -> None:
    """Events of other logs do not arrive there."""
    with (
        serving(names=tuple(names)) as api,
        tail(api.url, log=names[2]) as asked,
        tail(api.url) as default,
    ):
        apply(store_url, Keys(names[1]), [saved(5)])
        apply(store_url, Keys(names[2]), [saved(6)])
        apply(store_url, Keys(names[0]), [saved(7)])
        asked.wait(1)
        default.wait(1)
    assert (asked.data, default.data) == ([saved(6)], [saved(7)])


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_log_is_an_error_in_the_envelope(many: Api, names: list[str], path: str) -> None:
    """So is a log that is named twice, even the same one."""
    unknown = get(many, path, log="no-such-log")
    assert (unknown.status_code, unknown.json()) == (404, {"code": 404, "message": "unknown log 'no-such-log'"})

    twice = get(many, path, log=[names[0], names[0]])
    assert twice.status_code == 400
    assert twice.json()["message"] == "the parameter log is given 2 times; give it once"


def test_a_caller_sees_the_logs_that_its_token_opens(many: Api, names: list[str]) -> None:
    """The first of them is the default where the default log is not among them."""
    ask = partial(get, many, "/model/etl/logs")
    assert ask().json() == {"code": 200, "data": {"default": names[1], "logs": names}}
    assert ask(TENANT).json()["data"] == {"default": names[0], "logs": [names[0], names[2]]}
    assert ask(ELSEWHERE).json()["data"] == {"default": None, "logs": []}
    assert many.get("/model/etl/logs").status_code == 401


def test_a_token_opens_its_own_logs_only(many: Api, names: list[str]) -> None:
    """It learns nothing about another log, not even that it exists: the answer is the one for an unknown log."""
    ask = partial(get, many, "/model/etl/log", TENANT)
    assert sizes(ask()) == sizes(ask(log=names[0])) == [1]
    assert sizes(ask(log=names[2])) == []
    for path in PATHS:
        other, none = get(many, path, TENANT, log=names[1]), get(many, path, TENANT, log="x" * len(names[1]))
        assert (other.status_code, none.status_code) == (404, 404)
        assert other.text.replace(names[1], "x" * len(names[1])) == none.text
    assert get(many, "/model/etl/log", ELSEWHERE).json() == {
        "code": 404,
        "message": "this token opens no log that is served here",
    }


def test_nothing_that_a_limited_token_opens_names_another_log(many: Api, names: list[str]) -> None:
    """Neither the metrics after another has scraped them, nor the settings in a bug report."""
    seen = get(many, "/metrics").text
    assert all(f'etlog_store_up{{log="{name}"}} 1.0' in seen for name in names)
    assert all(f'etlog_stats{{log="{name}",stat="applied"}}' in seen for name in names)
    limited = get(many, "/metrics", TENANT).text
    assert f'etlog_lag_entries{{log="{names[0]}"}} 0.0' in limited
    assert f'"{names[1]}"' not in limited

    report = get(many, "/model/etl/bugreport", TENANT, log=names[2])
    assert f"etlog-bugreport-{names[2]}-" in report.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(report.content)) as archive:
        files = {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}
    settings = orjson.loads(files["settings.json"])
    assert (settings["ETLOG_NAME"], settings["ETLOG_NAMES"]) == (names[0], f"{names[0]},{names[2]}")
    assert not any(names[1].encode() in content for content in files.values())

    for path in ("/openapi.json", "/docs", "/static/settings.js", "/readyz", "/"):
        assert names[0] not in many.get(path).text


def test_a_replica_is_ready_as_long_as_one_log_is(
    many: Api, client: redis.Redis, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One log that stands still must not take the others from their readers."""
    monkeypatch.setattr(statuses, "STUCK_AFTER", 0.3)
    for name in names[1:]:  # the default log, and one more
        add(client, Keys(name), [saved()])

    def stands_still() -> bool:
        assert many.get("/readyz").json() == {"code": 200, "data": "ready"}
        return bool(get(many, "/model/etl/status").json()["data"]["oldest_unapplied"] > 1)

    wait_until(stands_still, what="the default log to be a problem")

    add(client, Keys(names[0]), [saved()])
    problem = wait_until(lambda: (found := many.get("/readyz")).status_code == 503 and found, what="no log to be ready")
    assert "events wait; no consumer is active" in problem.json()["message"]
