"""A producer that emits after it was idle, while a balancer on the way has forgotten its connection."""

import time
from pathlib import Path

import pytest
from etlog_events.keys import Keys
from etlog_producer import Producer
from support.producers import emit, numbered, spool_files
from support.proxy import Proxy
from support.stream import Client

pytestmark = [pytest.mark.timed, pytest.mark.usefixtures("rested")]

#: Seconds in which an event must be delivered: the end of a stage has 5.
PROMPT = 2.0


def test_an_event_after_a_rest_is_delivered_promptly(proxy: Proxy, client: Client, keys: Keys) -> None:
    """Once, and without an outage: the event was not sent where it would be lost."""
    with Producer(proxy.url, log=keys.name) as producer:
        emit(producer, 1)
        assert producer.flush(10)
        proxy.forget()

        began = time.monotonic()
        emit(producer, 2)
        assert producer.flush(PROMPT)

        assert time.monotonic() - began < PROMPT
        assert producer.stats().retries == 0
    assert numbered(client, keys) == [(1, 1), (2, 2)]


def test_the_end_after_a_rest_needs_no_spool(proxy: Proxy, client: Client, keys: Keys, spool_dir: Path) -> None:
    """In a container, what is in the spool is lost."""
    producer = Producer(proxy.url, log=keys.name, spool_dir=spool_dir)
    emit(producer, 1)
    assert producer.flush(10)
    proxy.forget()

    began = time.monotonic()
    emit(producer, 2)
    producer.close(PROMPT)

    assert time.monotonic() - began < PROMPT
    assert spool_files(spool_dir) == []
    assert numbered(client, keys) == [(1, 1), (2, 2)]
