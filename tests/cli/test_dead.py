"""`etlog dead`: refused entries are listed, shown, repaired, requeued or dropped, each in one step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog.__main__ import run
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_producer.publish import Identity, Publisher
from support.consumers import Consuming, consumer_thread
from support.samples import saved
from support.servers import wait_until
from support.stream import counters, dead, entries, listed, raw_entries, stats

Dead = Callable[..., int]


@pytest.fixture
def etlog_dead(own_log: None) -> Dead:
    """Runs the command on the test's log, and returns its exit code."""
    return lambda *arguments: run(["dead", *arguments])


@pytest.fixture
def ids(client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]) -> list[str]:
    """The ids of three dead letters: one is not JSON, one has an unknown kind, one is not text."""
    Publisher(client, keys)(
        Identity("p"), 1, [saved(1), b"[oops", saved(2).replace(b"AllocationSet", b"CloudCostSet"), b"\xff", saved(3)]
    )
    with consuming():
        caught_up()
    found: Any = client.xrange(keys.dead)
    return [letter_id.decode() for letter_id, _ in found]


def test_they_are_listed_with_their_reasons(
    ids: list[str], etlog_dead: Dead, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oldest first, brackets and all."""
    assert etlog_dead("list") == 0
    shown = capsys.readouterr().out
    assert ids[0] in shown
    assert "[oops" in shown

    assert etlog_dead("list", "--json", "--reason", "unknown kind") == 0
    [letter] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (letter["id"], letter["producer"], letter["seq"]) == (ids[1], "p", "3")


def test_one_event_of_an_entry_is_a_letter_of_its_own(
    ids: list[str], etlog_dead: Dead, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its own id and number, and alone it is put back."""
    [(entry_id, _)] = raw_entries(client, keys)
    assert etlog_dead("list", "--json") == 0
    letters = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(letter["event"], letter["seq"]) for letter in letters] == [
        (f"{entry_id.decode()}.{place}", str(place + 1)) for place in (1, 2, 3)
    ]

    assert etlog_dead("requeue", ids[1], "--force") == 0

    assert [fields for _, fields in raw_entries(client, keys)[1:]] == [
        {b"event": saved(2).replace(b"AllocationSet", b"CloudCostSet")}
    ]
    assert [letter[b"raw"] for letter in dead(client, keys)] == [b"[oops", b"\xff"]


@pytest.mark.parametrize("command", ["show", "requeue", "drop"])
@pytest.mark.parametrize("place", ["", ".1"])
def test_the_id_of_an_event_is_not_that_of_its_letter(
    ids: list[str],
    etlog_dead: Dead,
    client: redis.Redis,
    keys: Keys,
    capsys: pytest.CaptureFixture[str],
    command: str,
    place: str,
) -> None:
    """And the error says which one is asked for."""
    [(entry_id, _)] = raw_entries(client, keys)

    assert etlog_dead(command, f"{entry_id.decode()}{place}") != 0

    told = capsys.readouterr().err
    assert f"{entry_id.decode()}{place}" in told
    assert "give the letter's own id, which 'etlog dead list' shows beside that of its event" in told
    assert len(dead(client, keys)) == len(ids)


def test_one_is_shown_with_all_that_was_kept(
    ids: list[str], etlog_dead: Dead, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not text is escaped."""
    assert etlog_dead("show", ids[2]) == 0

    assert json.loads(capsys.readouterr().out)["raw"] == "\\xff"


def test_a_repaired_one_is_applied(
    ids: list[str],
    etlog_dead: Dead,
    client: redis.Redis,
    keys: Keys,
    consuming: Consuming,
    caught_up: Callable[[], None],
    tmp_path: Path,
) -> None:
    """Under a new id, without the number, and the letter is gone."""
    (tmp_path / "repaired.json").write_bytes(saved(7) + b"\n")
    assert etlog_dead("requeue", ids[0], "--event", saved(6).decode()) == 0
    assert etlog_dead("requeue", ids[2], "--file", str(tmp_path / "repaired.json")) == 0

    assert len(dead(client, keys)) == 1
    assert entries(client, keys)[-1].producer == ""
    with consuming():
        caught_up()
    assert listed(client, keys, "allocation") == [saved(size) for size in (1, 3, 6, 7)]
    assert stats(client, keys) == {"applied": 4, "dead": 3, "unnumbered": 2}
    assert verify(client, keys).faults == []


def test_all_of_a_new_category_are_requeued(
    ids: list[str],
    etlog_dead: Dead,
    client: redis.Redis,
    keys: Keys,
    store_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A consumer with the new setting then applies them."""
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")
    kinds = Settings.from_environment().kinds

    assert etlog_dead("requeue", "--reason", "unknown kind") == 0

    with consumer_thread(store_url, keys, kinds=kinds):
        wait_until(lambda: "CloudCostSetSaved" in counters(client, keys), what="the letter to be applied")
    assert len(listed(client, keys, "cloudcost")) == 1
    assert len(listed(client, keys, "allocation")) == 2
    assert len(dead(client, keys)) == 2


def test_what_would_be_refused_again_stays(
    ids: list[str], etlog_dead: Dead, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless it is forced."""
    assert etlog_dead("requeue", "--all") == 1
    assert "would be refused again" in capsys.readouterr().err
    assert len(dead(client, keys)) == 3

    assert etlog_dead("requeue", "--all", "--force") == 0
    assert dead(client, keys) == []
    assert [entry.event for entry in entries(client, keys)[-3:]] == [
        b"[oops",
        saved(2).replace(b"AllocationSet", b"CloudCostSet"),
        b"\xff",
    ]


def test_they_are_dropped(ids: list[str], etlog_dead: Dead, client: redis.Redis, keys: Keys) -> None:
    """By id, by reason, or all; they stay counted."""
    assert etlog_dead("drop", ids[0]) == 0
    assert len(dead(client, keys)) == 2
    assert etlog_dead("drop", "--reason", "UTF-8") == 0
    assert etlog_dead("drop", "--reason", "invalid character") == 0
    assert etlog_dead("drop", "--all") == 0

    assert dead(client, keys) == []
    assert stats(client, keys)["dead"] == 3
    assert verify(client, keys).faults == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["drop"], 2),
        (["requeue"], 2),
        (["drop", "1-1", "--all"], 2),
        (["requeue", "--all", "--event", "{}"], 2),
        (["drop", "1-1"], 1),
        (["show", "1-1"], 1),
        (["show", "nonsense"], 2),
    ],
)
def test_a_wrong_choice_is_one_sentence(
    etlog_dead: Dead, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int
) -> None:
    """And changes nothing."""
    assert etlog_dead(*arguments) == code

    assert len(capsys.readouterr().err.splitlines()) == 1
