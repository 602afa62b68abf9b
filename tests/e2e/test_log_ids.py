"""The id of a log decides where a file on disk belongs: not its address, which another log may have by now."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from etlog.__main__ import run
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer
from etlog_producer.spool import recovery
from support.samples import WINDOW, saved
from support.servers import Server
from support.stream import entries

KEYS = Keys("nightly")


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spool files are deleted as soon as they are delivered."""
    monkeypatch.setattr(recovery, "SETTLE", 0.0)


@dataclass
class Store:
    """A server with a socket in the file system beside its port."""

    server: Server

    @property
    def socket(self) -> Path:
        """Where it listens beside its port."""
        return self.server.folder / "s"

    def url(self, how: str, database: int) -> str:
        """One of its databases, by `tcp` or by `unix`."""
        if how == "unix":
            return f"unix://{self.socket}?db={database}"
        return f"redis://127.0.0.1:{self.server.port}/{database}"

    def sizes(self, database: int) -> list[int]:
        """The sizes of the events in the log of a database."""
        with connect(self.url("tcp", database), part="test") as client:
            return [entry.metadata["size"] for entry in entries(client, KEYS)]


def started() -> Store:
    """A new one."""
    # The socket stands in the folder of the data, which is the server's working directory.
    return Store(Server("--appendonly", "yes", "--appendfsync", "always", "--unixsocket", "s"))


@pytest.fixture
def store() -> Iterator[Store]:
    """A store for one test."""
    store = started()
    yield store
    store.server.close()


def leave(store: Store, url: str, *sizes: int, known: bool) -> Path:
    """Leave events in the spool that were for `url`, of a producer that had reached the log before, or not.

    The store is away afterwards.
    """
    producer = Producer(url, log=KEYS.name)
    if known:
        producer.emit("AssetSetSaved", size=1000, window=WINDOW)
        assert producer.flush(20)
    store.server.kill()
    for size in sizes:
        producer.emit("AssetSetSaved", size=size, window=WINDOW)
    producer.close(0)
    [path] = Path(os.environ["ETLOG_SPOOL_DIR"]).rglob(f"{producer.id}*.spool")
    return path


def flush(url: str) -> int:
    """`etlog spool flush`."""
    return run(["spool", "flush", "--redis-url", url, "--log", KEYS.name])


@pytest.mark.parametrize("known", [True, False], ids=["known log", "unknown log"])
@pytest.mark.parametrize("how", ["tcp", "unix"])
def test_two_databases_of_a_server_are_two_logs(store: Store, how: str, known: bool) -> None:
    """Also at a socket, where the database stands behind `?`. No part sends to one what is for the other."""
    right, wrong = store.url(how, 1), store.url(how, 0)
    path = leave(store, right, 1, 2, known=known)
    store.server.start()

    with Producer(wrong, log=KEYS.name) as other:
        other.emit("AssetSetSaved", size=7, window=WINDOW)
        assert other.flush(20)
    assert flush(wrong) == 1

    assert path.exists()
    assert store.sizes(0) == [7]
    assert flush(right) == 0
    assert store.sizes(1) == [1000] * known + [1, 2]
    assert not path.exists()


def test_a_log_is_the_same_by_socket_and_by_port(store: Store) -> None:
    """A file that knows it goes either way; one that does not goes by the address."""
    known = leave(store, store.url("unix", 1), 1, known=True)
    store.server.start()
    unknown = leave(store, store.url("unix", 1), 2, known=False)
    store.server.start()

    assert flush(store.url("tcp", 1)) == 1

    assert (known.exists(), unknown.exists()) == (False, True)
    assert flush(store.url("unix", 1)) == 0
    assert store.sizes(1) == [1000, 1, 2]


def test_a_store_that_was_replaced_gets_nothing_that_was_for_the_former(store: Store) -> None:
    """It listens at the same address, and has a log of that name. The former one gets its files wherever it is."""
    url = store.url("tcp", 0)
    path = leave(store, url, 1, 2, known=True)
    former = started()
    former.server.kill()
    shutil.copytree(store.server.folder / "appendonlydir", former.server.folder / "appendonlydir", dirs_exist_ok=True)
    shutil.rmtree(store.server.folder / "appendonlydir")
    store.server.start()
    with Producer(url, log=KEYS.name) as other:
        other.emit("AssetSetSaved", size=7, window=WINDOW)
        assert other.flush(20)
    assert flush(url) == 1

    assert path.exists()
    assert store.sizes(0) == [7]
    former.server.start()
    try:
        assert flush(former.url("tcp", 0)) == 0
        assert former.sizes(0) == [1000, 1, 2]
    finally:
        former.server.close()


def test_a_file_of_events_is_gone_on_with_in_its_own_database_alone(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bookmark knows the log as well."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(saved(1) + b"\n{}\n")
    right, wrong = (
        ["emit", "--file", str(file), "--log", KEYS.name, "--redis-url", store.url("unix", db)] for db in (1, 0)
    )
    assert run(right) == 2
    file.write_bytes(saved(1) + b"\n" + saved(2) + b"\n")
    capsys.readouterr()

    assert run([*wrong, "--resume"]) == 1

    assert f"into another log, which was at {store.url('unix', 1)}" in capsys.readouterr().err
    assert store.sizes(0) == []
    assert run([*right[:-1], store.url("tcp", 1), "--resume"]) == 0
    assert store.sizes(1) == [1, 2]
    assert run([*wrong, "--resume"]) == 1
    assert "emitted into another log" in capsys.readouterr().err
