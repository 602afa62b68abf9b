"""`etlog upgrade`: logs of contract 1 are converted whole, whatever interrupts it, and this release takes over."""

import dataclasses
import gzip
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog import upgrade as upgrading
from etlog.__main__ import run
from etlog.errors import CommandFailed
from etlog.ledger_check import LedgerCheck, check
from etlog.upgrade import Converted, Ledger, build_ledger, upgrade
from etlog.verification import verify
from etlog_api import create_app
from etlog_consumer import rebuild
from etlog_events import Settings
from etlog_events.errors import OtherContract
from etlog_events.event import Event
from etlog_events.keys import CONSUMERS, CONSUMERS_CONTRACT, Keys
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds
from etlog_events.sequence import Record
from etlog_events.store import connect
from etlog_events.validation import NO_WINDOW
from etlog_ledger.row import Cell, Row, decode, merge
from etlog_producer.spool import recovery
from support import apis, commands
from support.clustered import Clustered
from support.consumers import catch_up, consumer_thread
from support.samples import saved
from support.servers import Server
from support.stream import Client, counters, dead, entries, listed
from support.watched import Killed, Watched, killed_at

FIXTURE = Path(__file__).parent / "contract1"
EXPECTED: dict[str, Any] = json.loads((FIXTURE / "expected.json").read_text())
DEFAULT, NIGHTLY = Keys("default"), Keys("nightly")

#: The address that spool files and the bookmark of the fixture name.
FORMER_URL = "redis://127.0.0.1:6399/0"


class Restored(Server):
    """A server with what the earlier release left behind."""

    def start(self) -> None:
        """Start it on that data."""
        shutil.copy(FIXTURE / "store.rdb", self.folder / "dump.rdb")
        super().start()


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of the restored store, which the commands find, too. All producers were seen just now: the fixture gets
    older, and a log forgets producers."""
    with closing(Restored()) as server, connect(server.url, part="test") as client:
        now = int(time.time() * 1000)
        old: Any = client
        for log in ("default", "nightly"):
            for field in old.hkeys(f"etlog:{{{log}}}:producers"):
                if field.endswith(b":seen"):
                    old.hset(f"etlog:{{{log}}}:producers", field, now)
            for producer, record in old.hgetall(f"etlog:{{{log}}}:retired").items():
                old.hset(f"etlog:{{{log}}}:retired", producer, b"%b %d" % (record.rpartition(b" ")[0], now))
        monkeypatch.setenv("ETLOG_REDIS_URL", server.url)
        monkeypatch.setenv("ETLOG_NAMES", "default,nightly")
        yield client


def digest(items: list[bytes]) -> str:
    """As `expected.json` has it."""
    return hashlib.sha256(b"\n".join(items)).hexdigest()


def records(client: Client, keys: Keys) -> dict[str, Record]:
    """The record of each producer. All are in the index, too."""
    found = {name.decode(): Record.decode(text) for name, text in client.hgetall(keys.producers).items()}
    seen = {name.decode(): int(score) for name, score in client.zrange(keys.producers_seen, 0, -1, withscores=True)}
    assert seen == {name: record.seen if record else None for name, record in found.items()}
    return {name: record for name, record in found.items() if record}


def stats(client: Client, keys: Keys) -> dict[str, int]:
    """All stats but the time, and those of the ledger."""
    found = {name.decode(): int(number) for name, number in client.hgetall(keys.stats).items()}
    return {name: number for name, number in found.items() if name not in {"caught_up", "rebuilt"}}


def all_keys(client: Client, keys: Keys) -> set[str]:
    """What follows the name of the log in each of its keys."""
    prefix = keys.events.removesuffix("events")
    return {key.decode().removeprefix(prefix) for key in client.scan_iter(match=f"{prefix}*", count=1000)}


def rows(client: Client, keys: Keys, category: str) -> dict[str, Row]:
    """The rows of a category. All are among its changes, too."""
    found = {name.decode(): decode(text) for name, text in client.hgetall(keys.sets(category)).items()}
    assert {name.decode() for name in client.zrange(keys.changes(category), 0, -1)} == found.keys()
    return found


def recomputed(items: list[bytes], kinds: Kinds = KUBECOST_KINDS) -> dict[str, Row]:
    """The rows that these events make, by another way: each is merged by itself."""
    found: dict[str, Row] = {}
    for item in items:
        event = Event.decode(item, kinds)
        action = kinds.by_name[event.kind].action.name
        window = event.metadata.get("window")
        settled = event.time if window and event.time[:-1] >= window["end"][:-1] else None
        cell = Cell(
            *(1, event.time, event.time, settled, event.metadata.get("size")),
            error=event.metadata.get("error") if kinds.by_name[event.kind].action.is_error else None,
        )
        name = f"{window['start']}/{window['end']}" if window else NO_WINDOW
        found[name] = merge(found.get(name, {}), {action: cell})
    return found


def ended(client: Client, keys: Keys) -> dict[str, int]:
    """The sums over producers whose record is gone."""
    return {name.decode(): int(number) for name, number in client.hgetall(keys.producers_ended).items()}


def test_a_log_keeps_all_that_it_holds(restored: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists, counters, dead letters, what waits, and what is known of each producer."""
    before = int(time.time() * 1000)

    assert run(["upgrade"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"log default: {len(EXPECTED['logs']['default']['producers'])} producers converted, "
        f"{EXPECTED['logs']['default']['waiting']} events wait to be applied",
        "log default: the ledger holds 311 sets; 8,719 older events are in no row",
        "log nightly: 2 producers converted, 0 events wait to be applied",
        "log nightly: the ledger holds 10 sets",
    ]
    for keys in (DEFAULT, NIGHTLY):
        expected = EXPECTED["logs"][keys.name]
        assert restored.get(keys.contract) == b"2"
        assert re.fullmatch(rb"[0-9a-f]{40}", restored.get(keys.id))
        assert restored.get(keys.cursor) == expected["cursor"].encode()
        assert restored.xlen(keys.events) == expected["entries"]
        assert counters(restored, keys) == expected["counters"]
        for category, found in expected["lists"].items():
            items = listed(restored, keys, category)
            assert {"length": len(items), "sha256": digest(items)} == found
            assert rows(restored, keys, category) == recomputed(items)
        letters = [letter[b"raw"] for letter in dead(restored, keys)]
        assert {"length": len(letters), "sha256": digest(letters)} == expected["dead"]

        former = expected["producers"]
        found_records = records(restored, keys)
        for name, record in found_records.items():
            applied = former[name].get("applied", 0)
            assert record._replace(seen=0) == Record(
                former[name].get("published", applied),
                *(applied, former[name].get("dead", 0), former[name].get("lost", 0)),
                *(0, b"", False),
            )
            assert before - 60_000 < record.seen < time.time() * 1000 + 60_000
        assert found_records.keys() == former.keys()

        pruned, pruned_dead, pruned_lost = (expected["stats"].pop(name, 0) for name in expected["pruned"])
        sums = {"published": pruned, "applied": pruned, "dead": pruned_dead, "lost": pruned_lost}
        assert ended(restored, keys) == (sums if pruned else {})
        published = sum(record.published for record in found_records.values()) + pruned
        assert stats(restored, keys) == expected["stats"] | {"published": published}
        assert not {"retired", "upgrade:producers", "upgrade:seen", "upgrade:sums"} & all_keys(restored, keys)

        verified = verify(restored, keys)
        assert verified.faults == []
        assert verified.ledger.events == sum(found["length"] for found in expected["lists"].values())
        names = ("published", "applied", "dead", "lost", "in_flight")
        assert {name: getattr(verified.total, name) for name in names} == {
            name: expected["verify"]["total"][name] for name in names
        }
        assert verified.unnumbered_in_flight == expected["verify"]["unnumbered_in_flight"]
    assert restored.get(CONSUMERS_CONTRACT) == b"2"


@pytest.mark.usefixtures("restored")
def test_the_api_answers_as_before() -> None:
    """To the byte."""
    assert run(["upgrade"]) == 0
    with apis.serve(create_app(Settings.from_environment())) as api:
        for log in ("default", "nightly"):
            printed = commands.run("log", "--json", "--log", log, "--url", api.url).stdout
            assert digest([printed.removesuffix("\n").encode()]) == EXPECTED["logs"][log]["answer"]


def left_behind(url: str, file: Path) -> None:
    """Put the spool files and the bookmark of the earlier release where this one looks, as if it had used this store
    and this file."""
    folder = Path(os.environ["ETLOG_SPOOL_DIR"]) / "default"
    folder.mkdir(parents=True)
    for path in FIXTURE.glob("spool/default/*.spool"):
        (folder / path.name).write_bytes(path.read_bytes().replace(FORMER_URL.encode(), url.encode()))
    bookmark = json.loads(next(FIXTURE.glob("spool/default/*.place")).read_bytes())
    name = hashlib.sha256(f"{file}\n{url}".encode()).hexdigest()[:16]
    (folder / f"{name}.place").write_text(json.dumps(bookmark | {"file": str(file)}))
    file.write_bytes(gzip.decompress((FIXTURE / "events.ndjson.gz").read_bytes()))


def test_the_parts_of_this_release_go_on(
    restored: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What waits is applied, what lies on disks is sent, a file is emitted to its end: each event exactly once."""
    monkeypatch.setattr(recovery, "SETTLE", 0.0)
    url, file = os.environ["ETLOG_REDIS_URL"], tmp_path / "events.ndjson"
    left_behind(url, file)
    expected = EXPECTED["logs"]["default"]
    lines = file.read_bytes().count(b"\n")
    emitted = expected["producers"][EXPECTED["bookmark"]["producer"]]["published"]
    assert run(["upgrade"]) == 0

    with consumer_thread(url, DEFAULT):
        assert run(["spool", "flush"]) == 0
        assert run(["emit", "--resume", "--file", str(file)]) == 0
        catch_up(restored, DEFAULT)

    spooled = EXPECTED["spool"].values()
    found = records(restored, DEFAULT)
    sums = ended(restored, DEFAULT)
    for each in spooled:
        assert each["producer"] not in found or found[each["producer"]].applied == each["last"]
    # Of the files, `durable` holds 25 events that the store had, and all else is new to it.
    new = sum(each["events"] for each in spooled) - 25 + lines - emitted
    assert stats(restored, DEFAULT)["published"] == expected["verify"]["total"]["published"] + new
    applied = stats(restored, DEFAULT)
    assert applied["applied"] == expected["stats"]["applied"] + expected["waiting"] - 2 + new
    assert applied["dead"] == expected["stats"]["dead"] + 2 == len(dead(restored, DEFAULT))
    assert applied["lost"] == expected["stats"]["lost"] == sum(r.lost for r in found.values()) + sums["lost"]
    assert digest([letter[b"raw"] for letter in dead(restored, DEFAULT)][:-2]) == expected["dead"]["sha256"]
    after = [(entry.producer, entry.seq) for entry in entries(restored, DEFAULT) if entry.seq]
    assert len(set(after)) == len(after) - expected["stats"]["duplicate"]
    assert [entry.event for entry in entries(restored, DEFAULT)][emitted - lines :] == (
        file.read_bytes().splitlines()[emitted:]
    )
    verified = verify(restored, DEFAULT)
    assert (verified.faults, verified.total.in_flight) == ([], 0)
    assert not list((tmp_path / "spool" / "default").glob("*.spool"))


OLD: dict[str, dict[str, Any]] = {
    "a": {"published": 5, "applied": 5, "seen": 1001},
    "b": {"published": 9, "applied": 7, "dead": 2, "lost": 1, "seen": 1002},
    "by xadd": {"applied": 4, "lost": 1, "seen": 1003},
    "both": {"published": 3, "applied": 6, "seen": 1004},
    "a:published": {"published": 2, "applied": 1, "seen": 1005},
    "a:published:applied": {"applied": 1, "seen": 1006},
    "": {"published": 1, "seen": 1007},
    "odd": {"published": "many", "applied": 2, "dead": "-1", "seen": 1008},
}
RETIRED = {"long idle": "8 1 2 900"}
CONVERTED = {
    "a": Record(5, 5, 0, 0, 1001, b"", closed=False),
    "b": Record(9, 7, 2, 1, 1002, b"", closed=False),
    "by xadd": Record(4, 4, 0, 1, 1003, b"", closed=False),
    "both": Record(6, 6, 0, 0, 1004, b"", closed=False),
    "a:published": Record(2, 1, 0, 0, 1005, b"", closed=False),
    "a:published:applied": Record(1, 1, 0, 0, 1006, b"", closed=False),
    "": Record(1, 0, 0, 0, 1007, b"", closed=False),
    "odd": Record(2, 2, 0, 0, 1008, b"", closed=False),
    "long idle": Record(8, 8, 1, 2, 900, b"", closed=False),
}


def write(client: Client, keys: Keys, producers: dict[str, dict[str, Any]] = OLD, filler: int = 0) -> None:
    """A log of contract 1 with the records `producers`, and so many more."""
    fields = {f"{name}:{what}": value for name, record in producers.items() for what, value in record.items()}
    for number in range(filler):
        fields |= {f"filler-{number}:{what}": 1 for what in ("published", "applied", "seen")}
    client.hset(keys.producers, mapping=fields)
    client.hset(keys.producers.replace("producers", "retired"), mapping=RETIRED)
    client.hset(keys.stats, mapping={"applied": 30, "pruned": 6, "pruned_dead": 2, "pruned_lost": 1})
    client.set(keys.contract, 1)


def is_converted(client: Client, keys: Keys, filler: int = 0) -> bool:
    """Whether the log is as it must be."""
    found = records(client, keys)
    fillers = {f"filler-{number}": Record(1, 1, 0, 0, 1, b"", closed=False) for number in range(filler)}
    assert found == CONVERTED | fillers
    assert ended(client, keys) == {"published": 6, "applied": 6, "dead": 2, "lost": 1}
    assert stats(client, keys) == {"applied": 30, "published": sum(r.published for r in found.values()) + 6}
    assert all_keys(client, keys) == {"contract", "id", "producers", "producers:seen", "producers:ended", "stats"}
    assert client.get(keys.contract) == b"2"
    return True


def test_records_of_all_forms_are_converted(client: Client, keys: Keys) -> None:
    """Also those of a producer whose name looks like a field of another, and fields that hold no number."""
    write(client, keys)

    assert upgrade(client, keys) is not None

    assert is_converted(client, keys)


def test_many_producers_are_converted_slice_by_slice(
    client: Client, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of none the fields are in one slice."""
    monkeypatch.setattr(upgrading, "SLICE", 10)
    write(client, keys, filler=500)
    told: list[tuple[int, int]] = []

    found = upgrade(client, keys, lambda done, total: told.append((done, total)))

    assert is_converted(client, keys, filler=500)
    assert found is not None
    assert found.producers == 500 + len(CONVERTED)
    fields = 3 * 500 + sum(map(len, OLD.values())) + len(RETIRED)
    assert told[-1] == (fields, fields)
    assert len(told) > 50


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_may_be_killed_at_any_moment(client: Client, keys: Keys, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """And run again, and again: the log is converted as if nothing had happened."""
    monkeypatch.setattr(upgrading, "SLICE", 300)
    for number in range(1, 100):
        for key in all_keys(client, keys):
            client.delete(keys.events.replace("events", key))
        write(client, keys, filler=200)
        try:
            upgrade(Watched(client, **{when: killed_at(number)}), keys)
        except Killed:
            assert client.get(keys.contract) in {b"1", b"upgrading", b"2"}
            with suppress(Killed):  # it needs no second command where the log is converted already
                upgrade(Watched(client, before=killed_at(2)), keys)
            upgrade(client, keys)
            assert is_converted(client, keys, filler=200)
        else:
            break
    assert 6 < number < 99
    assert is_converted(client, keys, filler=200)


def test_two_at_once_do_no_harm(client: Client, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever one comes in between the steps of the other."""
    monkeypatch.setattr(upgrading, "SLICE", 300)
    overtaken = False
    for number in range(1, 100):
        for key in all_keys(client, keys):
            client.delete(keys.events.replace("events", key))
        write(client, keys, filler=200)
        other: list[Converted | None] = []

        def come_in(at: int, number: int = number, other: list[Converted | None] = other) -> None:
            if at == number:
                other.append(upgrade(client, keys))

        found = upgrade(Watched(client, before=come_in), keys)

        assert is_converted(client, keys, filler=200)
        if not other:
            break
        assert found is None or other == [None]
        overtaken = overtaken or found is None
    assert overtaken


def test_an_attempt_that_was_given_up_leaves_nothing(client: Client, keys: Keys) -> None:
    """Who goes back to the earlier release sets the contract to 1, and its parts write on. Then all is read anew."""
    write(client, keys, {"a": {"published": 1, "applied": 1, "seen": 1}, "gone": {"published": 1, "applied": 1}})
    with pytest.raises(Killed):
        upgrade(Watched(client, before=killed_at(4)), keys)
    assert client.get(keys.contract) == b"upgrading"
    client.delete(keys.producers)
    write(client, keys)

    assert upgrade(client, keys) is not None

    assert is_converted(client, keys)


def test_a_store_that_restarts_meanwhile_ends_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a scan has come on the one server means nothing on another. It is run again."""
    monkeypatch.setattr(upgrading, "SLICE", 10)
    keys = Keys("nightly")

    restarted: list[int] = []

    def restart(done: int, total: int) -> None:
        if not restarted:
            server.kill()
            server.start()
            restarted.append(done)

    with connect(server.url, part="test") as client:
        write(client, keys, filler=500)
        with pytest.raises(redis.ConnectionError):
            upgrade(client, keys, restart)
        assert client.get(keys.contract) == b"upgrading"

        assert upgrade(client, keys) is not None
        assert is_converted(client, keys, filler=500)


def test_a_script_that_is_forgotten_meanwhile_is_given_again(client: Client, keys: Keys) -> None:
    """As by SCRIPT FLUSH."""
    write(client, keys)

    upgrade(Watched(client, before=lambda number: client.script_flush()), keys)

    assert is_converted(client, keys)


def address_of(client: Client, other: Client) -> str:
    """The address from which another client is connected."""
    number = other.client_id()
    address: str = next(each["addr"] for each in client.client_list() if int(each["id"]) == number)
    return address


@pytest.mark.usefixtures("own_log")
class TestRefusing:
    """What is refused is left as it is."""

    def refused(self, capsys: pytest.CaptureFixture[str]) -> str:
        """What the command says."""
        assert run(["upgrade"]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert len(printed.err.splitlines()) == 1
        return printed.err

    def test_an_active_consumer(self, client: Client, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
        """It is named."""
        write(client, keys)
        client.set(keys.lease, "host-17-abc", px=4000)

        assert "consumer host-17-abc is active" in self.refused(capsys)
        assert client.get(keys.contract) == b"1"

    @pytest.mark.parametrize("part", ["producer", "consumer"])
    def test_a_part_that_is_connected(
        self, client: Client, keys: Keys, store_url: str, capsys: pytest.CaptureFixture[str], part: str
    ) -> None:
        """With the address that it is connected from."""
        write(client, keys)
        with connect(store_url, part=part) as other:
            address = address_of(client, other)
            assert f"connected to the store: {part} at {address}; stop all parts" in self.refused(capsys)
        assert client.get(keys.contract) == b"1"

    @pytest.mark.parametrize("version", ["3", "0", "newest"])
    def test_another_contract(
        self, client: Client, keys: Keys, capsys: pytest.CaptureFixture[str], version: str
    ) -> None:
        """In the usual words."""
        write(client, keys)
        client.set(keys.contract, version)

        assert f"log {keys.name} follows contract {version}, but this etlog " in self.refused(capsys)
        assert client.get(keys.contract) == version.encode()

    def test_data_of_an_unknown_contract(self, client: Client, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
        """What was converted once must not be converted twice."""
        write(client, keys)
        client.delete(keys.contract)

        assert f"set {keys.contract} to 1" in self.refused(capsys)

    def test_a_key_of_another_type(self, client: Client, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
        """Before anything is changed."""
        write(client, keys)
        client.delete(keys.stats)
        client.set(keys.stats, "1")

        assert run(["upgrade"]) == 2
        assert f"{keys.stats} should be a hash" in capsys.readouterr().err
        assert client.get(keys.contract) == b"1"


@pytest.mark.usefixtures("own_log")
def test_there_may_be_nothing_to_do(client: Client, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """In a log that is not written to yet, or only by XADD, and in one that is converted. Parts may be connected."""
    for contract, more in ((None, ""), ("2", ", it is at contract 2 already")):
        if contract:
            client.set(keys.contract, contract)
        client.xadd(keys.events, {"event": saved()})
        with connect(os.environ["ETLOG_REDIS_URL"], part="producer") as other:
            other.ping()
            assert run(["upgrade"]) == 0
        assert capsys.readouterr().out == f"log {keys.name}: nothing to convert{more}\n"
        assert all_keys(client, keys) == ({"events", "contract"} if contract else {"events"})


@pytest.mark.usefixtures("own_log")
def test_a_log_that_is_not_there_is_an_error_where_it_was_named(
    client: Client, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else it is a log of the settings that is yet to be written."""
    assert run(["upgrade"]) == 0
    assert capsys.readouterr().out == f"log {keys.name}: the store holds no such log\n"

    assert run(["upgrade", "--log", keys.name]) == 1
    assert capsys.readouterr() == ("", f"etlog: the store holds no log {keys.name}\n")
    assert all_keys(client, keys) == set()


@pytest.mark.usefixtures("own_log")
def test_an_api_that_is_connected_is_to_be_restarted(
    client: Client, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """It only reads, so it is no obstacle."""
    write(client, keys)
    with connect(os.environ["ETLOG_REDIS_URL"], part="api") as other:
        address = address_of(client, other)
        assert run(["upgrade"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"log {keys.name}: {len(CONVERTED)} producers converted, 0 events wait to be applied",
        f"log {keys.name}: the ledger holds 0 sets",
        f"restart the API that is connected from {address}",
    ]


def test_a_log_that_is_emptied_meanwhile_is_no_log(client: Client, keys: Keys) -> None:
    """And one whose contract someone sets back is not taken for converted."""
    write(client, keys)
    with pytest.raises(CommandFailed, match="was emptied meanwhile"):
        upgrade(Watched(client, before=lambda at: client.delete(keys.contract) if at == 3 else None), keys)
    write(client, keys)
    with pytest.raises(OtherContract, match="follows contract 1"):
        upgrade(Watched(client, before=lambda at: client.set(keys.contract, 1) if at == 3 else None), keys)


KINDS = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})

#: What the ledger holds of what `write_lists` writes. Of the older events nothing is known but their number.
WHOLE = LedgerCheck({"allocation": 5, "asset": 0, "cloudcost": 1}, events=7 + 2, unrowed=1000 + 30, stood_still=True)


def write_lists(client: Client, keys: Keys) -> None:
    """The newest events of two categories: of five sets and without a window, and of one set."""
    windows = [(f"2022-06-03T1{hour}:00:00Z", f"2022-06-03T1{hour + 1}:00:00Z") for hour in range(5)]
    events = [Event.new("AllocationSetSaved", size=hour, window=window) for hour, window in enumerate(windows)]
    events += [
        Event.new("AllocationSetComputeError", error="403 Forbidden", window=windows[4]),
        Event.new("AllocationSetComputeError", error="no space left"),
    ]
    cloud = [Event.new("CloudCostSetTotaled", window=windows[0], kinds=KINDS) for _ in range(2)]
    client.rpush(keys.log("allocation"), *(event.encode() for event in events))
    client.rpush(keys.log("cloudcost"), *(event.encode() for event in cloud))
    counted = {"AllocationSetSaved": 1005, "AllocationSetComputeError": 2, "CloudCostSetTotaled": 32}
    client.hset(keys.counters, mapping=counted)


def ledger_of(client: Client, keys: Keys, kinds: Kinds = KINDS) -> LedgerCheck:
    """What the ledger holds. It adds up."""
    checked, faults = check(client, keys, kinds)
    assert faults == []
    return checked


@pytest.fixture
def converted(client: Client, keys: Keys) -> Keys:
    """A log that was converted, whose upgrade ended before it came to the ledger."""
    write(client, keys)
    write_lists(client, keys)
    upgrade(client, keys)
    return keys


def test_the_ledger_is_built_from_the_lists(
    converted: Keys, client: Client, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each category of the settings, of the newest sets of each length; no one is warned of what was asked for."""
    assert build_ledger(client, converted, KINDS, keep=2000) == Ledger(6, 1030, is_new=True)

    assert ledger_of(client, converted) == WHOLE
    for category in KINDS.categories:
        assert rows(client, converted, category) == recomputed(listed(client, converted, category), KINDS)
    assert build_ledger(client, converted, KINDS, keep=2000) == Ledger(6, 1030, is_new=False)
    assert capfd.readouterr() == ("", "")

    client.delete(*(key for category in KINDS.categories for key in converted.of_category(category)[1:]))
    assert build_ledger(client, converted, KINDS, keep=3) == Ledger(4, 1032, is_new=True)
    assert ledger_of(client, converted).sets == {"allocation": 3, "asset": 0, "cloudcost": 1}


@pytest.mark.usefixtures("own_log")
def test_a_second_upgrade_builds_a_ledger_that_is_not_there(
    converted: Keys, client: Client, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the one that was interrupted would have; a third one finds nothing to do."""
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")
    done = f"log {converted.name}: nothing to convert, it is at contract 2 already"
    for more in ([f"log {converted.name}: the ledger holds 6 sets; 1,030 older events are in no row"], []):
        assert run(["upgrade"]) == 0
        assert capsys.readouterr().out.splitlines() == [done, *more]
        assert ledger_of(client, converted) == WHOLE


def test_a_consumer_builds_a_ledger_that_is_not_there(converted: Keys, client: Client, store_url: str) -> None:
    """Until then, `etlog verify` says what is to be done, and an upgrade leaves the ledger to a consumer at work."""
    _, [fault] = check(client, converted, KINDS)
    assert fault.startswith("there is no ledger of allocation and cloudcost yet, ")
    assert "start a consumer" in fault
    client.set(converted.lease, "host-17-abc", px=60_000)
    assert build_ledger(client, converted, KINDS, keep=2000) is None
    assert not {"unrowed", "sets:allocation"} & all_keys(client, converted)
    client.delete(converted.lease)

    client.xadd(converted.events, {"event": listed(client, converted, "allocation")[-1]})
    with consumer_thread(store_url, converted, kinds=KINDS):
        catch_up(client, converted)

    assert ledger_of(client, converted) == dataclasses.replace(WHOLE, events=WHOLE.events + 1)


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_ledger_adds_up_whenever_building_it_ends(
    converted: Keys, client: Client, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """But for categories that it has not come to; then the next one builds what is missing."""
    monkeypatch.setattr(rebuild, "AT_ONCE", 2)
    held = set()
    for number in range(1, 100):
        client.delete(converted.unrowed, *(key for c in KINDS.categories for key in converted.of_category(c)[1:]))
        with suppress(Killed):
            build_ledger(Watched(client, **{when: killed_at(number)}), converted, KINDS, keep=2000)
            break
        checked, faults = check(client, converted, KINDS)
        assert all(fault.startswith("there is no ledger of ") for fault in faults)
        assert faults or checked.events + checked.unrowed == 1039
        held.add(checked.events)
        build_ledger(client, converted, KINDS, keep=2000)
        assert ledger_of(client, converted).events + ledger_of(client, converted).unrowed == 1039
    assert len(held) > 3
    assert ledger_of(client, converted) == WHOLE


def test_two_that_build_a_ledger_at_once_do_no_harm(
    converted: Keys, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever one comes in between the steps of the other."""
    monkeypatch.setattr(rebuild, "AT_ONCE", 2)
    for number in range(1, 100):
        client.delete(converted.unrowed, *(key for c in KINDS.categories for key in converted.of_category(c)[1:]))
        other: list[Ledger | None] = []

        def come_in(at: int, number: int = number, other: list[Ledger | None] = other) -> None:
            if at == number:
                other.append(build_ledger(client, converted, KINDS, keep=2000))

        found = build_ledger(Watched(client, before=come_in), converted, KINDS, keep=2000)

        checked = ledger_of(client, converted)
        assert found is not None
        assert (found.sets, found.unrowed) == (sum(checked.sets.values()), checked.unrowed)
        if not other:
            break
    assert 10 < number < 99


#: What a user needs for it, beside what every client sends.
RIGHTS = (
    *("+role", "+cluster|slots", "+script|load", "+client|list"),
    "(+get +exists ~etlog:{*}:* ~{etlog:consumers}:contract)",
    "(+set ~etlog:{*}:contract ~etlog:{*}:id ~{etlog:consumers}:contract)",
    "(+evalsha ~etlog:{*}:*)",
    "(+type %R~etlog:{*}:*)",
    "(+hget +hmget +hset +hsetnx +hdel +hlen +hexists +hscan +zadd +unlink +rename "
    "~etlog:{*}:stats ~etlog:{*}:producers ~etlog:{*}:producers:* ~etlog:{*}:retired ~etlog:{*}:upgrade:*)",
    "(+time)",
    "(+xrange %R~etlog:{*}:events)",
    "(+lrange %R~etlog:{*}:log:*)",
    "(+hgetall +hset ~etlog:{*}:counters)",
    "(+hgetall %R~etlog:{*}:stats)",
    "(+hgetall +hset ~etlog:{*}:unrowed)",
    "(+hlen +hscan +hset ~etlog:{*}:sets:*)",
    "(+zcard +zrange +zadd +unlink ~etlog:{*}:changes:*)",
)


def test_a_user_needs_only_these_rights(server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's log of refusals stays empty."""
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")
    with connect(server.url, part="test") as client:
        write(client, keys)
        write_lists(client, keys)
        client.set(CONSUMERS_CONTRACT, 1)
        rules = ("on", ">secret", "resetkeys", "-@all", "+@connection", "-@dangerous", *RIGHTS)
        client.execute_command("ACL", "SETUSER", "upgrader", *rules)
        url = server.url.replace("redis://", "redis://upgrader:secret@")

        assert run(["upgrade", "--redis-url", url, "--log", keys.name]) == 0

        assert [(entry["object"], entry["username"]) for entry in client.acl_log()] == []
        assert client.get(keys.contract) == b"2"
        assert ledger_of(client, keys) == WHOLE
        assert client.get(CONSUMERS_CONTRACT) == b"2"


def test_what_a_user_may_not_look_at_is_no_obstacle(server: Server, keys: Keys) -> None:
    """Who is connected, for one."""
    with connect(server.url, part="producer") as client:
        write(client, keys)
        client.execute_command("ACL", "SETUSER", "upgrader", "on", ">secret", "~*", "+@all", "-client|list")
        url = server.url.replace("redis://", "redis://upgrader:secret@")

        assert run(["upgrade", "--redis-url", url, "--log", keys.name]) == 0

        assert is_converted(client, keys)


def test_the_logs_of_a_cluster_are_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each on its node, and the set of consumer processes on its own."""
    logs = [Keys(f"tenant-{number}") for number in range(3)]
    with closing(Clustered(logs[0])) as cluster:
        for keys in logs:
            with connect(cluster.url, part="test", log=keys.name) as client:
                write(client, keys)
        with connect(cluster.url, part="test", log=CONSUMERS) as client:
            client.set(CONSUMERS_CONTRACT, 1)
        monkeypatch.setenv("ETLOG_NAMES", ",".join(keys.name for keys in logs))

        assert run(["upgrade", "--redis-url", cluster.url]) == 0

        for keys in logs:
            with connect(cluster.url, part="test", log=keys.name) as client:
                assert is_converted(client, keys)
        with connect(cluster.url, part="test", log=CONSUMERS) as client:
            assert client.get(CONSUMERS_CONTRACT) == b"2"
