"""Copies of spool and store that are restored after the stage went on: nothing is doubled, and what is left is sent."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.consumers import catch_up, consumer_thread
from support.emitters import Emitter
from support.servers import Server, wait_until
from support.stream import entries

KEYS = Keys("nightly")


class Copy:
    """A copy of a folder, taken now."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self._folder, self._copy = folder, copy
        shutil.copytree(folder, copy)

    def restore(self) -> None:
        """Put it in the place of what is there."""
        shutil.rmtree(self._folder)
        shutil.copytree(self._copy, self._folder)


@pytest.fixture
def stage(server: Server) -> Iterator[Emitter]:
    """A stage that keeps each event in a file until the store has it."""
    stage = Emitter(server.url, KEYS.name, "stage", pause=0.002, durable=True)
    yield stage
    stage.kill()


@pytest.mark.parametrize("what", [("spool",), ("store",), ("spool", "store")], ids=" and ".join)
def test_a_restored_copy_doubles_nothing(server: Server, stage: Emitter, tmp_path: Path, what: tuple[str, ...]) -> None:
    """The stage went on after the copy was taken, and was killed. The next one sends what it left."""
    stage.go_on(50)
    server.kill()
    emitted = stage.emitted
    wait_until(lambda: stage.emitted > emitted + 50, what="events that wait in the spool")
    copies = {
        "spool": Copy(Path(os.environ["ETLOG_SPOOL_DIR"]), tmp_path / "copy of the spool"),
        "store": Copy(server.folder, tmp_path / "copy of the store"),
    }
    server.start()
    stage.go_on(100)
    acknowledged = stage.kill()
    server.kill()
    for name in what:
        copies[name].restore()
    server.start()

    soon = {"etlog_producer.spool.recovery.SETTLE": 0.0}
    later = Emitter(server.url, KEYS.name, "later", events=5, constants=soon)
    assert later.wait() == 0

    with connect(server.url, part="test") as client, consumer_thread(server.url, KEYS):
        catch_up(client, KEYS)
        counted = Counter((entry.metadata["stage"], entry.metadata["size"]) for entry in entries(client, KEYS))
        assert set(counted.values()) == {1}
        sizes = sorted(size for name, size in counted if name == "stage")
        assert sizes == list(range(1, len(sizes) + 1))
        # What either of them holds is there; with both restored, no one knows of what came after the copy.
        assert what == ("spool", "store") or len(sizes) >= acknowledged
        found = verify(client, KEYS)
        assert (found.faults, found.total.lost) == ([], 0)
        assert counted.keys() >= {("later", number) for number in range(1, 6)}
