"""The API on the test's log, and what fills that."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, tzinfo
from typing import Any

import pytest
import redis
from etlog_api.app import create_app
from etlog_consumer import Consumer
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support.apis import Api, Fill, Serving, add, serve
from support.consumers import CaughtUp, Consuming


@pytest.fixture
def serving(store_url: str, keys: Keys) -> Serving:
    """Serves the test's log in a thread."""

    @contextmanager
    def start(*, clock: Callable[[tzinfo], datetime] = datetime.now, **settings: Any) -> Iterator[Api]:
        given = {"redis_url": store_url, "name": keys.name, **settings}
        with serve(create_app(Settings(**given), clock)) as api:
            yield api

    return start


@pytest.fixture
def api(serving: Serving) -> Iterator[Api]:
    """The API on the test's log."""
    with serving() as api:
        yield api


@pytest.fixture
def fill(
    client: redis.Redis,
    keys: Keys,
    consuming: Consuming,
    caught_up: CaughtUp,
) -> Iterator[Fill]:
    """Appends events, and has them applied."""
    with ExitStack() as started:
        active: list[Consumer] = []

        def append(texts: Sequence[bytes], **options: int) -> None:
            add(client, keys, texts)
            if not active:
                active.append(started.enter_context(consuming(**options)))
            caught_up()

        yield append
