"""What is kept of incidents: one watcher changes it at a time, and all of a change is kept, or nothing."""

import asyncio
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pytest
import redis
from etlog_events.errors import OtherContract
from etlog_events.keys import Keys
from etlog_events.store import connect_async
from etlog_watch.faults import Fault
from etlog_watch.incident_store import HELD, Ended, IncidentStore, Kept, Waiting
from etlog_watch.incidents import Incident, Told
from etlog_watch.message import ProblemTold

T = TypeVar("T")

NOW = datetime(2026, 12, 1, 3, 0, 0, 123456, tzinfo=UTC)
FAULT = Fault(state="lost", text="1 event was lost", since="2026-12-01T03:00:00Z", count=1)


def incident(name: str, **more: Any) -> Incident:
    return Incident(id=name, opened=NOW, changed=NOW, faults=(FAULT,), **more)


def message(name: str) -> Waiting:
    problem = ProblemTold(id="i", log="default", state="lost", since=FAULT.since, text=FAULT.text)
    return Waiting(id=name, target="t", happened="opened", created=NOW, next=NOW, problems=(problem,))


class Watchers:
    """Watchers of one log, each with a connection of its own; their calls are made one after the other."""

    def __init__(self, url: str, keys: Keys) -> None:
        self._loop = asyncio.new_event_loop()
        self._url, self._keys = url, keys
        self._clients: list[Any] = []

    def __call__(self, name: str) -> IncidentStore:
        client = connect_async(self._url, part="watch", log=self._keys.name)
        self._clients.append(client)
        return IncidentStore(client, self._keys, name)

    def run(self, call: Awaitable[T]) -> T:
        """What a call returns."""

        async def awaited() -> T:
            return await call

        return self._loop.run_until_complete(awaited())

    def close(self) -> None:
        for client in self._clients:
            self.run(client.aclose())
        self._loop.close()


@pytest.fixture
def watchers(store_url: str, keys: Keys) -> Iterator[Watchers]:
    """The watchers of the test's log."""
    found = Watchers(store_url, keys)
    yield found
    found.close()


def test_what_is_kept_is_read_by_the_next_one(watchers: Watchers, keys: Keys, client: redis.Redis) -> None:
    """Incidents, messages, and targets that want no more, to the microsecond."""
    first, second = watchers("a"), watchers("b")
    told = {"t": Told(ids=("i", "j"), first=NOW, at=NOW + timedelta(hours=1), states=("lost",), count=1)}
    assert watchers.run(first.claim()) == Kept("0")
    kept = Kept("", {"i": incident("i", told=told)}, {"m": message("m")}, {"t": Ended(at=NOW, reason="410 Gone")})

    changed = watchers.run(first.change(kept))

    assert changed is not None
    assert changed.revision == "1"
    watchers.run(first.leave())
    assert watchers.run(second.claim()) == changed
    assert set(client.hkeys(keys.incidents)) == {
        *(b"incident:i", b"message:m", b"target:t", b"revision", b"watcher"),
    }


def test_one_watcher_holds_the_place(watchers: Watchers, client: redis.Redis, keys: Keys) -> None:
    """Until it leaves, or was not heard of for some seconds."""
    first, second = watchers("a"), watchers("b")
    assert watchers.run(first.claim()) is not None
    assert watchers.run(second.claim()) is None
    assert watchers.run(first.claim()) is not None

    watchers.run(second.leave())
    assert watchers.run(second.claim()) is None
    watchers.run(first.leave())
    assert watchers.run(second.claim()) is not None
    assert watchers.run(first.claim()) is None
    seconds, _ = client.time()
    client.hset(keys.incidents, "watcher", f"b {(seconds - 1) * 1000}")
    assert watchers.run(first.claim()) is not None
    assert watchers.run(second.claim()) is None


@pytest.mark.parametrize("revision", ["", "x", b"\xff", "-1", "1.5", " 1"])
def test_a_count_that_is_none_counts_anew(
    watchers: Watchers, client: redis.Redis, keys: Keys, revision: str | bytes
) -> None:
    """Someone wrote something else there."""
    client.hset(keys.incidents, "revision", revision)
    store = watchers("a")

    assert watchers.run(store.claim()) == Kept("0")
    assert watchers.run(store.change(Kept("", {"i": incident("i")}))) is not None
    assert watchers.run(store.claim()) == Kept("1", {"i": incident("i")})


@pytest.mark.parametrize("held", ["", "nonsense", "b", "b x", "b 99999999999999999", "b 1e300", "b -5"])
def test_a_place_that_no_watcher_holds_is_free(watchers: Watchers, client: redis.Redis, keys: Keys, held: str) -> None:
    """Someone wrote to the field by hand, or the store's clock was set back."""
    client.hset(keys.incidents, mapping={"watcher": held, "revision": "12x"})
    store = watchers("a")

    assert watchers.run(store.claim()) is not None
    changed = watchers.run(store.change(Kept("", {"i": incident("i")})))

    assert changed is None or changed.revision == "1"
    assert watchers.run(store.claim()) is not None
    kept = watchers.run(store.change(Kept("", {"j": incident("j")})))
    assert kept is not None
    assert kept.incidents.keys() == {"j"}


def test_whoever_lost_the_place_changes_nothing(watchers: Watchers, client: redis.Redis, keys: Keys) -> None:
    """Nor does one that came back and does not know what was changed meanwhile."""
    first, second = watchers("a"), watchers("b")
    watchers.run(first.claim())
    watchers.run(first.change(Kept("", {"i": incident("i")})))
    client.hset(keys.incidents, "watcher", f"a {client.time()[0] * 1000 - 1}")
    watchers.run(second.claim())
    watchers.run(second.change(Kept("", {"i": incident("i"), "j": incident("j")})))

    assert watchers.run(first.change(Kept())) is None
    watchers.run(second.leave())

    assert watchers.run(first.claim()) == Kept("2", {"i": incident("i"), "j": incident("j")})


def test_a_change_made_by_hand_is_seen(watchers: Watchers, client: redis.Redis, keys: Keys) -> None:
    """Of who counts it: 'revision' is how a watcher knows."""
    store = watchers("a")
    watchers.run(store.claim())
    watchers.run(store.change(Kept("", {"i": incident("i")})))
    client.hdel(keys.incidents, "incident:i")
    client.hincrby(keys.incidents, "revision", 1)

    assert watchers.run(store.change(Kept("", {"j": incident("j")}))) is None
    assert watchers.run(store.claim()) == Kept("2")


def test_what_is_not_understood_is_passed_over(watchers: Watchers, client: redis.Redis, keys: Keys) -> None:
    """And stays."""
    store = watchers("a")
    incident_text, message_text = (msgspec.json.encode(value).decode() for value in (incident("n"), message("m")))
    wrong: dict[str | bytes, str] = {"incident:x": "{}", "message:y": "\xff", "target:z": "5", b"incident:\xff": "{}"}
    wrong |= {"incident:n": incident_text.replace("Z", ""), "incident:deep": "[" * 100_000, "other": "1"}
    wrong |= {"incident:m": incident_text, "message:other": message_text}
    client.hset(keys.incidents, mapping=wrong)  # type: ignore[arg-type]

    assert watchers.run(store.claim()) == Kept("0")
    assert watchers.run(store.change(Kept("", {"i": incident("i")}))) is not None
    assert client.hexists(keys.incidents, "other")


def test_a_log_of_another_contract_is_left_alone(watchers: Watchers, client: redis.Redis, keys: Keys) -> None:
    """And named."""
    client.set(keys.contract, "3")

    with pytest.raises(OtherContract, match="this etlog-watch supports 2"):
        watchers.run(watchers("a").claim())
    assert not client.exists(keys.incidents)


def test_a_place_is_held_for_some_seconds(watchers: Watchers, client: redis.Redis, keys: Keys) -> None:
    """By the store's clock."""
    watchers.run(watchers("a").claim())

    name, until = (client.hget(keys.incidents, "watcher") or b"").split()

    seconds, microseconds = client.time()
    assert name == b"a"
    assert 0 < int(until) - (seconds * 1000 + microseconds // 1000) <= HELD * 1000
