"""A bug report holds everything that helps someone who was not there."""

import io
import time
import zipfile
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from etlog_events.keys import Keys
from support.apis import Api, Fill
from support.samples import DOCUMENTED, saved
from support.stream import Client


@pytest.fixture
def unpacked(api: Api) -> Callable[[], dict[str, bytes]]:
    """The files of a bug report."""

    def download() -> dict[str, bytes]:
        answer = api.get("/model/etl/bugreport")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Content-Disposition"].startswith('attachment; filename="etlog-bugreport-2')
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            assert archive.testzip() is None
            return {name.removeprefix("etlog-bugreport/"): archive.read(name) for name in archive.namelist()}

    return download


def test_a_bug_report_is_complete(
    api: Api, fill: Fill, unpacked: Callable[[], dict[str, bytes]], client: Client, keys: Keys
) -> None:
    """The log as it is answered, the status, all settings, the store, what was refused, and versions."""
    fill([*DOCUMENTED["asset"], b"\xff\x00 no event"])
    client.hset(keys.unrowed, "AssetSetSaved", 3)

    files = unpacked()

    assert files["log.json"] == api.get().content
    assert files["coverage.json"] == api.get("/model/etl/coverage").content
    parsed: dict[str, Any] = {name: orjson.loads(text) for name, text in files.items()}
    of_store = {"log.json", "coverage.json", "status.json", "store.json", "dead.json", "ledger.json"}
    assert set(parsed) == {*of_store, "settings.json", "versions.json"}
    stats = parsed["status.json"]["stats"]
    assert {name: stats.get(name) for name in ("applied", "dead", "unnumbered", "published")} == {
        "applied": 3,
        "dead": 1,
        "unnumbered": 4,
        "published": None,
    }
    assert (parsed["status.json"]["lag"], parsed["status.json"]["lag_unit"]) == (0, "events")
    assert parsed["status.json"]["id"].encode() == client.get(keys.id)
    assert parsed["settings.json"]["ETLOG_CAP"] == "1000"
    assert parsed["store.json"]["role"] == "master"
    [letter] = parsed["dead.json"]
    assert letter["raw"] == "\\xff\x00 no event"
    assert letter["reason"].startswith("not JSON")
    assert parsed["ledger.json"] == {"rows": {"allocation": 0, "asset": 2}, "unrowed": {"AssetSetSaved": "3"}}
    assert {"python", "platform", "etlog-api", "etlog-events", "redis"} <= set(parsed["versions.json"])


@pytest.mark.timed
def test_a_bug_report_holds_a_log_of_long_events(
    api: Api, fill: Fill, unpacked: Callable[[], dict[str, bytes]]
) -> None:
    """Others get their answers while it is packed."""
    fill([saved(size, note=str(size) * 10_000) for size in range(300)])

    began = time.monotonic()
    files = unpacked()

    assert len(files["log.json"]) > 7_000_000
    assert time.monotonic() - began < 10
