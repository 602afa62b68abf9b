"""The examples of `docs/publishing.md` do what the page says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events import publishing
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_producer import Producer
from etlog_producer.publish import Identity, Publisher
from support.samples import WINDOW, saved
from support.servers import PATIENCE
from support.stream import Client, entries, raw_entries, records

PAGE = Path(__file__).parents[2] / "docs" / "publishing.md"
[EMIT, XADD, FUNCTION] = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
[ERROR] = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
[PYTHON, STAGES] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


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


def test_the_stage_tells_of_its_steps(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Each with how long it took."""
    run([sys.executable, "-c", STAGES], store_url, keys)

    found = entries(client, keys)
    assert [Event.decode(entry.event).kind for entry in found] == ["AllocationSetLoaded", "AllocationSetTotaled"]
    assert all(0 <= entry.metadata["seconds"] < PATIENCE for entry in found)


def test_the_error_of_a_stage_is_shown_as_it_is_emitted(client: redis.Redis, keys: Keys, store_url: str) -> None:
    """With the same keys, in the same order, and the stage that failed."""
    with (
        pytest.raises(OSError, match="disk full"),
        Producer(store_url, log=keys.name) as producer,
        producer.stage("AllocationSet", window=WINDOW) as stage,
        stage.saving(),
    ):
        raise OSError("disk full")

    [entry] = entries(client, keys)
    shown, found = json.loads(ERROR), json.loads(entry.event)
    for event in (shown, found):
        event["time"] = event["metadata"]["seconds"] = None
    assert json.dumps(found) == json.dumps(shown)
    assert Event.decode(ERROR.strip().encode()).encode() == ERROR.strip().encode()


def test_the_shell_publishes_an_event_and_a_file(
    store_url: str, client: redis.Redis, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the log of the environment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.ndjson").write_bytes(b"\n".join(saved(size) for size in range(3)))

    run_in_shell(EMIT, store_url, keys)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [97, 0, 1, 2]


def test_plain_xadd_adds_events(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """In one entry, in canonical spelling, so that the consumer takes them as they are."""
    run_in_shell(XADD, store_url, keys)

    found = entries(client, keys)
    assert len(raw_entries(client, keys)) == 1
    assert [Event.decode(entry.event).kind for entry in found] == ["AssetSetTotaled", "AssetSetSaved"]
    for entry in found:
        assert Event.decode(entry.event).encode() == entry.event
        assert (entry.producer, entry.seq) == ("", 0)


def test_the_function_adds_a_batch_once(store_url: str, client: Client, keys: Keys) -> None:
    """However often it is called; and the producer ends."""
    Publisher(client, Keys("another"))(Identity("p"), 1, [])  # it loads the function, as a consumer does

    said = run_in_shell(FUNCTION, store_url, keys).split()

    log_id = client.get(keys.id).decode()
    assert said == ["OK", "2", log_id] * 3
    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [("shell-1", 1), ("shell-1", 2)]
    record = records(client, keys)["shell-1"]
    assert (record.published, record.token, record.closed) == (2, b"5f1c09d2", True)


def test_a_call_means_what_the_page_says_of_its_answer(client: Client, keys: Keys) -> None:
    """The answers of the table; after an error nothing was changed."""
    publisher = Publisher(client, keys)
    log_id = publisher(Identity("p", "token"), 1, [saved()] * 2).log_id
    before = client.dump(keys.events)

    def answer(*arguments: str) -> Any:
        return client.fcall(publishing.FUNCTION.name, 7, *keys.publishing, *arguments)

    assert answer("p", "token", log_id, "4", "follow", "{}") == [b"GAP", 2, log_id.encode()]
    with pytest.raises(redis.ResponseError, match="TAKEN "):
        answer("p", "another-token", "", "3", "follow", "{}")
    with pytest.raises(redis.ResponseError, match="LOG "):
        answer("p", "token", "another", "3", "follow", "{}")
    assert client.dump(keys.events) == before
    assert answer("p", "token", log_id, "4", "skip", "{}") == [b"OK", 4, log_id.encode()]

    client.hset(keys.producers, "p", "published=4 applied=4 dead=0 lost=1 seen=1 token=token")  # as a consumer
    assert answer("p", "token", log_id, "5", "close") == [b"OK", 4, log_id.encode()]
    assert answer("p", "token", log_id, "5", "close") == [b"GAP", 0, log_id.encode()]

    client.set(keys.contract, 3)
    with pytest.raises(redis.ResponseError, match="CONTRACT "):
        answer("q", "", "", "1", "follow", "{}")
