"""Two processes under one id: the second is named and goes on under another, and each event is in the log once."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer
from support.consumers import consumer_thread
from support.emitters import Emitter
from support.producers import emit, spool_files, spooled
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import Client, counters, entries, records

KEYS = Keys("twins")

#: The id that both begin with.
ID = "twin-1-abc"

#: A few hundred events go through the spool.
SMALL_INBOX = {"etlog_producer.inbox.INBOX_EVENTS": 100, "etlog_producer.inbox.SPILL_EVENTS": 40}


def twin(server: Server, name: str, errors: Path, **options: Any) -> Emitter:
    """A stage that begins under the id of both."""
    return Emitter(server.url, KEYS.name, name, pause=0.001, id=ID, errors=errors, **options)


def holds_once(client: Client, *stages: tuple[str, int]) -> None:
    """Whether the log has each event of each stage once. A producer's numbers must have no gap."""
    found = entries(client, KEYS)
    counted = Counter((entry.metadata["stage"], entry.metadata["size"]) for entry in found)
    assert counted == {(name, number): 1 for name, events in stages for number in range(1, events + 1)}
    numbers: dict[str, list[int]] = {}
    for entry in found:
        numbers.setdefault(entry.producer, []).append(entry.seq)
    assert all(seqs == list(range(1, len(seqs) + 1)) for seqs in numbers.values())


@pytest.mark.parametrize("how", ["plain", "durable", "spilled"])
def test_two_processes_under_one_id_lose_and_double_nothing(server: Server, tmp_path: Path, how: str) -> None:
    """The first has the id by right, or both meet a store that was away, with their events in memory and in files."""
    options: dict[str, Any] = {"durable": how == "durable", "constants": SMALL_INBOX if how == "spilled" else {}}
    logs = [tmp_path / "one.log", tmp_path / "other.log"]
    if how != "plain":
        server.kill()
    twins = [twin(server, name, log, events=700, **options) for name, log in zip(("one", "other"), logs, strict=True)]
    if how != "plain":
        wait_until(lambda: all(stage.emitted >= 300 for stage in twins), what="both to have events")
        server.start()

    assert [stage.wait() for stage in twins] == [0, 0]

    with connect(server.url, part="test") as client:
        holds_once(client, ("one", 700), ("other", 700))
    named = [line for log in logs for line in log.read_text().splitlines() if f"under the id {ID};" in line]
    assert len(named) >= 1
    assert all(stage.books["lost"] == stage.books["dropped"] == stage.books["spooled"] == 0 for stage in twins)
    assert [stage.books["delivered"] for stage in twins] == [700, 700]
    assert spool_files(tmp_path / "spool") == []


def test_twins_that_are_killed_leave_their_files_to_the_next(server: Server, tmp_path: Path) -> None:
    """The store was away all the time, so neither knew of the other. The files of one go under the id, those of the
    other under ids of their own."""
    server.kill()
    twins = [twin(server, name, tmp_path / f"{name}.log", durable=True) for name in ("one", "other")]
    wait_until(lambda: all(stage.emitted >= 300 for stage in twins), what="both to have events")
    for stage in twins:
        stage.kill()
    written = [(name, sum(map(len, map(spooled, files)))) for name, files in files_of(tmp_path / "spool").items()]
    assert sorted(name for name, _ in written) == ["one", "other"]
    server.start()

    later = Emitter(server.url, KEYS.name, "later", errors=tmp_path / "later.log")
    wait_until(lambda: not spool_files(tmp_path / "spool"), what="the files to be delivered")
    emitted = later.end()

    with connect(server.url, part="test") as client:
        holds_once(client, *written, ("later", emitted))
        [own, other] = sorted(name for name in records(client, KEYS) if name.startswith(ID))
        assert own == ID
        assert re.fullmatch(rf"{ID}~[0-9a-f]{{16}}-1", other)
    assert f"under the id {ID};" in (tmp_path / "later.log").read_text()


def files_of(folder: Path) -> dict[str, list[Path]]:
    """The spool files of each stage."""
    found: dict[str, list[Path]] = {}
    for path in spool_files(folder):
        event = path.read_bytes().splitlines()[2].split(b" ", 2)[2]
        found.setdefault(json.loads(event)["metadata"]["stage"], []).append(path)
    return found


@pytest.mark.parametrize("durable", [False, True])
def test_numbers_that_another_client_gives_out_under_a_live_id_swallow_nothing(
    server: Server, tmp_path: Path, durable: bool
) -> None:
    """The store holds numbers that were never sent from here, and takes what comes for repetitions of those."""
    keys = Keys("nightly")
    with connect(server.url, part="test") as client, consumer_thread(server.url, keys):
        producer = Producer(server.url, log=keys.name, spool_dir=tmp_path, durable=durable)
        emit(producer, 1)
        assert producer.flush(10)
        first = producer.id
        client.xadd(keys.events, {"producer": first, "seq": 1000, "event": saved(2)})
        wait_until(lambda: records(client, keys)[first].published == 1000, what="the other client's number")

        emit(producer, 3, 4)
        if durable:  # what is in a file has its number
            assert not producer.flush(0.5)
            assert "another client" in str(producer.last_error)
            assert producer.stats().delivered == 1
        else:
            assert producer.flush(10)
            assert producer.id != first
            wait_until(lambda: sum(counters(client, keys).values()) == 4, what="all events")
        producer.close(0)
