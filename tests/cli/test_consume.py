"""`etlog consume`: the consumer as a process, which stops when it is told."""

import json
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import redis
from etlog_events.keys import Keys
from etlog_producer import Producer
from support import commands
from support.samples import WINDOW, saved
from support.servers import Server, free_port, wait_until

pytestmark = pytest.mark.usefixtures("own_log")


@pytest.mark.timed
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_once(
    number: signal.Signals, store_url: str, keys: Keys, client: redis.Redis, caught_up: Callable[[], None]
) -> None:
    """What it had applied stays applied, its lease is free, and the end is a success."""
    with Producer(store_url, log=keys.name) as producer:
        producer.emit("AssetSetTotaled", window=WINDOW)

    with commands.running("consume") as command:
        wait_until(lambda: client.exists(keys.cursor), what="the consumer")
        caught_up()
        assert client.exists(keys.lease)

        assert command.stop(number) < 3
        assert command.wait() == 0

    assert "Traceback" not in command.shown
    assert not client.exists(keys.lease)
    assert client.hgetall(keys.counters) == {b"AssetSetTotaled": b"1"}


@pytest.mark.timed
def test_it_stops_while_the_store_is_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was waiting for it, and says that it ends without it."""
    monkeypatch.setenv("ETLOG_REDIS_URL", server.url)

    with commands.running("consume") as command:
        command.wait_for("Active")
        server.kill()
        command.wait_for("Cannot apply, will keep trying")

        assert command.stop() < 3
        assert command.wait() == 0
    assert "Traceback" not in command.shown


def test_every_log_line_is_a_json_object_if_that_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fields that a machine can read."""
    monkeypatch.setenv("ETLOG_LOG_FORMAT", "json")

    with commands.running("consume") as command:
        command.wait_for("Active")
        command.stop()

    lines = [json.loads(line) for line in command.shown.splitlines()]
    [active] = [line for line in lines if line["action"] == "active"]
    assert active["level"] == "INFO"
    assert active["logger"] == "etlog.consumer"


def test_lines_below_the_level_are_left_out(monkeypatch: pytest.MonkeyPatch, client: redis.Redis, keys: Keys) -> None:
    """`ETLOG_LOG_LEVEL` decides."""
    monkeypatch.setenv("ETLOG_LOG_LEVEL", "ERROR")

    with commands.running("consume") as command:
        wait_until(lambda: client.exists(keys.lease), what="the consumer")
        command.stop()

    assert command.shown == ""


def test_the_log_that_an_option_names_is_the_only_one(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option wins, also over the names of several logs."""
    monkeypatch.setenv("ETLOG_NAMES", "one,two")
    client.xadd(keys.events, {"event": saved(1)})
    with commands.running("consume", "--redis-url", store_url, "--log", keys.name) as consuming:
        consuming.wait_for(f"applies log {keys.name}")
        wait_until(lambda: client.hget(keys.stats, "applied") == b"1", what="the event to be applied")
    assert "Share" not in consuming.shown


def test_its_metrics_tell_of_the_spool_files_of_the_machine(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are at the moment, of every log."""
    port = free_port()
    monkeypatch.setenv("ETLOG_METRICS_PORT", str(port))
    monkeypatch.setenv("ETLOG_NAMES", f"{keys.name},nightly")
    folder = tmp_path / "spool" / "nightly"
    folder.mkdir(parents=True)

    def scraped() -> str:
        return httpx.get(f"http://127.0.0.1:{port}/metrics").text

    with commands.running("consume") as command:
        command.wait_for("Share")
        assert f'etlog_spool_files{{log="{keys.name}",state="waiting"}} 0.0' in scraped()
        (folder / "gone-1-abc.00000000000000000001.spool").write_text("no header\n")
        (folder / "gone-1-abc.00000000000000000001.old").write_text("")

        found = scraped()

        assert 'etlog_spool_files{log="nightly",state="unknown log"} 1.0' in found
        assert 'etlog_spool_files{log="nightly",state="old"} 1.0' in found
        command.stop()


def test_a_port_for_metrics_that_is_taken_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the address, the reason and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("ETLOG_METRICS_PORT", str(port))

        ended = commands.run("consume")

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith(
        f"etlog: cannot listen on 127.0.0.1:{port}: Address already in use; name another port in ETLOG_METRICS_PORT\n"
    )
