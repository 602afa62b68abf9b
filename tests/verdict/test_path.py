"""The labelled logs on the whole path: a producer, the store, a consumer, and the API at the time of each log."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from etlog_api.app import create_app
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_producer import Producer
from support.consumers import CaughtUp, Consuming
from support.labelled import LabelledLog, answer_of, labelled, score

LOGS = labelled(Path(__file__).with_name("labelled.jsonl.gz"))


def answered(settings: Settings, log: LabelledLog) -> Any:
    """What the API answers of all sets of a log, at the log's own time."""

    async def ask() -> httpx.Response:
        app = create_app(settings, log.now.astimezone)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://etlog")
        async with app.router.lifespan_context(app), client:
            return await client.get("/model/etl/coverage?window=2000-01-01T00:00:00Z,2100-01-01T00:00:00Z")

    answer = asyncio.run(ask())
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize("log", LOGS, ids=str)
def test_the_api_judges_a_labelled_log_right(
    log: LabelledLog, store_url: str, keys: Keys, consuming: Consuming, caught_up: CaughtUp, tmp_path: Path
) -> None:
    """Once the consumer has applied what the producer published."""
    settings = Settings(
        redis_url=store_url,
        name=keys.name,
        timezone=log.zone,
        categories=log.categories,
        spool_dir=tmp_path / "spool",
    )
    with consuming(kinds=log.kinds):
        with Producer(settings=settings) as producer:
            for kind, start, end, time, size, error in log.events:
                window = (start, end) if start and end else None
                producer.emit(kind, size=size, window=window, error=error, time=time)
            assert producer.flush(60)
        caught_up()

        found = score(log, answer_of(answered(settings, log)))

    assert not found, "\n".join([log.why, str(found), *found.lines()])
