"""The examples of `docs/publishing.md` do what the page says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from etlog_events.event import Event
from etlog_events.keys import Keys
from support.samples import saved
from support.stream import entries

PAGE = Path(__file__).parents[2] / "docs" / "publishing.md"
[EMIT, XADD, SCRIPT] = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
[PYTHON] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(command: list[str], store_url: str, keys: Keys) -> str:
    """What an example prints."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ETLOG_REDIS_URL": store_url,
        "ETLOG_NAME": keys.name,
    }
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout


def run_in_shell(source: str, store_url: str, keys: Keys) -> str:
    """What a shell prints for an example."""
    if "redis-cli" in source and shutil.which("redis-cli") is None and not os.environ.get("CI"):
        pytest.skip("no redis-cli on this machine")
    return run(["sh", "-euc", source], store_url, keys)


def test_the_python_publishes_an_event(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Into the log of the environment, without a close at its end."""
    run([sys.executable, "-c", PYTHON], store_url, keys)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [97]


def test_the_shell_publishes_an_event_and_a_file(
    store_url: str, client: redis.Redis, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the log of the environment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(saved(size) for size in range(3)))

    run_in_shell(EMIT, store_url, keys)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [97, 0, 1, 2]


def test_plain_xadd_adds_an_event(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """In canonical spelling, so that the consumer takes it as it is."""
    run_in_shell(XADD, store_url, keys)

    [entry] = entries(client, keys)
    assert Event.decode(entry.event).encode() == entry.event
    assert (entry.producer, entry.seq) == ("", 0)


def test_the_script_adds_a_batch_once(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """However often it is called."""
    assert run_in_shell(SCRIPT, store_url, keys).split() == ["OK", "2", "OK", "2"]

    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [("shell-1", 1), ("shell-1", 2)]
