"""What tests of several commands use: the test's own log in the environment, and an API of it."""

import os
from collections.abc import Iterator

import pytest
from etlog_api import create_app
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support.apis import api_process, apply, serve
from support.samples import saved


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """`etlog serve` writes to the environment of its process, which is that of all tests here."""
    environment = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(environment)


@pytest.fixture
def own_log(monkeypatch: pytest.MonkeyPatch, store_url: str, keys: Keys) -> None:
    """The commands find the test's own log."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)


@pytest.fixture
def api(store_url: str, keys: Keys) -> Iterator[str]:
    """The address of an API of the test's own log."""
    with api_process(store_url, name=keys.name) as api:
        yield api.url


@pytest.fixture
def second_of_two(store_url: str, keys: Keys) -> Iterator[tuple[str, ...]]:
    """Options that name the second log of an API with two; it holds the sizes 2 and 3, the first one holds 1."""
    second = Keys(f"{keys.name}-second")
    apply(store_url, keys, [saved(1)])
    apply(store_url, second, [saved(2), saved(3)])
    with serve(create_app(Settings(redis_url=store_url, name=keys.name, names=(keys.name, second.name)))) as api:
        yield ("--log", second.name, "--url", api.url)
