"""The shell examples of `docs/publishing.md` do what the page says."""

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
from support.stream import entries

PAGE = Path(__file__).parents[2] / "docs" / "publishing.md"
EXAMPLES = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)


def run(source: str, store_url: str, keys: Keys) -> str:
    """What a shell prints for an example."""
    if shutil.which("redis-cli") is None and not os.environ.get("CI"):
        pytest.skip("no redis-cli on this machine")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ETLOG_REDIS_URL": store_url,
        "ETLOG_NAME": keys.name,
    }
    ended = subprocess.run(
        ["sh", "-euc", source], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.stderr == ""
    assert ended.returncode == 0
    return ended.stdout


def test_plain_xadd_adds_an_event(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """In canonical spelling, so that the consumer takes it as it is."""
    run(EXAMPLES[0], store_url, keys)

    [entry] = entries(client, keys)
    assert Event.decode(entry.event).encode() == entry.event
    assert (entry.producer, entry.seq) == ("", 0)


def test_the_script_adds_a_batch_once(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """However often it is called."""
    assert run(EXAMPLES[1], store_url, keys).split() == ["OK", "2", "OK", "2"]

    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [("shell-1", 1), ("shell-1", 2)]
