"""The function that publishes: how a store comes to have it, and what a store without functions does instead."""

import pytest
import redis
from etlog_events import publishing, scripts
from etlog_events.errors import StoreUnavailable
from etlog_events.keys import Keys
from etlog_events.scripts import Function, Script
from etlog_events.store import connect
from etlog_producer import Producer
from etlog_producer.publish import Identity, Publisher
from support.consumers import consumer_thread
from support.producers import emit
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import numbers, raw_entries

ARGUMENTS = ("p", "", "", 1, "follow", saved(1), saved(2))


def test_function_and_script_do_the_same(client: redis.Redis, keys: Keys) -> None:
    """A store may lose the one, and have the other."""
    [answer] = scripts.run(client, publishing.FUNCTION.call(keys.publishing, ARGUMENTS))

    assert answer[:2] == [b"OK", 2]
    assert publishing.SCRIPT.run(client, keys.publishing, ARGUMENTS) == answer
    assert numbers(client, keys) == [1, 2]


def test_any_client_can_call_it_by_its_name(client: redis.Redis, keys: Keys) -> None:
    """Where someone has loaded it."""
    scripts.run(client, publishing.FUNCTION.call(keys.publishing, ARGUMENTS))

    assert client.fcall("etlog_publish_2", 7, *keys.publishing, "q", "", "", "1", "follow", saved(3))[:2] == [b"OK", 1]


def test_a_store_without_functions_runs_the_script() -> None:
    """One that is old, or has them switched off. What was asked for once is not asked for again."""
    server = Server("--rename-command", "FCALL", "", "--rename-command", "FUNCTION", "")
    keys = Keys("nightly")
    try:
        with connect(server.url, part="producer") as client:
            publish = Publisher(client, keys)
            assert publish(Identity("p"), 1, [saved(1)]).held == 1
            refused = client.info("errorstats")
            assert publish(Identity("p"), 2, [saved(2)] * 1200).held == 1201
            assert publish.close(Identity("p"), 1201).held == 1201
            assert numbers(client, keys) == list(range(1, 1202))
            assert client.info("errorstats") == refused
            with consumer_thread(server.url, keys):
                wait_until(lambda: client.hget(keys.stats, "applied") == b"1201", what="the consumer")
    finally:
        server.close()


def test_a_stage_that_may_load_nothing_waits_for_a_consumer(server: Server) -> None:
    """Which loads it. Until then the stage keeps its events, and says what it waits for."""
    keys = Keys("nightly")
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "stage", "on", ">secret", "~*", "+@all", "-function|load", "-evalsha")
        url = server.url.replace("redis://", "redis://stage:secret@")
        with Producer(url, log=keys.name) as producer:
            emit(producer, 1, 2, 3)
            wait_until(lambda: producer.stats().retries >= 2, what="attempts")
            assert publishing.FUNCTION.name in str(producer.stats().last_error)
            assert (producer.stats().waiting, raw_entries(client, keys)) == (3, [])

            with consumer_thread(server.url, keys):
                assert producer.flush(10)

        assert numbers(client, keys) == [1, 2, 3]


def test_who_may_not_load_it_is_told_to_start_a_consumer(server: Server) -> None:
    """In one sentence."""
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "stage", "on", ">secret", "~*", "+@all", "-function|load")
    sentence = "lacks the function etlog_publish_2, and this user may not load it; start a consumer, which does"
    url = server.url.replace("redis://", "redis://stage:secret@")
    with connect(url, part="producer") as client, pytest.raises(StoreUnavailable, match=sentence):
        Publisher(client, Keys("nightly"))(Identity("p"), 1, [saved()])


@pytest.mark.parametrize("run", [publishing.FUNCTION, publishing.SCRIPT], ids=["function", "script"])
@pytest.mark.parametrize(
    ("arguments", "about"),
    [
        (("p", "", "", 1), "count"),
        (("", "", "", 1, "follow", "e"), "producer"),
        (("p" * 257, "", "", 1, "follow", "e"), "producer"),
        (("p", "two words", "", 1, "follow", "e"), "token"),
        (("p", "t\n", "", 1, "follow", "e"), "token"),
        (("p", "t" * 65, "", 1, "follow", "e"), "token"),
        (("p", "", "", 0, "follow", "e"), "first"),
        (("p", "", "", -5, "follow", "e"), "first"),
        (("p", "", "", "nan", "follow", "e"), "first"),
        (("p", "", "", "1.5", "follow", "e"), "first"),
        (("p", "", "", "0x10", "follow", "e"), "first"),
        (("p", "", "", "9" * 30, "follow", "e"), "first"),
        (("p", "", "", 2**53 - 1, "skip", "e", "e"), "first"),
        (("p", "", "", 1, "CLOSE"), "mode"),
        (("p", "", "", 1, "", "e"), "mode"),
        (("p", "", "", 1, "close", "e"), "mode"),
    ],
)
def test_a_wrong_argument_is_named_and_changes_nothing(
    client: redis.Redis,
    keys: Keys,
    run: Function | Script,
    arguments: tuple[object, ...],
    about: str,
) -> None:
    """It would stay in the store, as a record that no one can read or a number that nothing follows."""
    with pytest.raises(redis.ResponseError, match=f"ARGUMENT {about}: "):
        scripts.run(client, run.call(keys.publishing, arguments))

    assert not client.exists(*keys.publishing)


def test_the_longest_arguments_are_taken(client: redis.Redis, keys: Keys) -> None:
    """And the largest number."""
    longest = ("p" * 256, "~" * 64, "", 2**53 - 2, "skip", saved(1), saved(2))
    [answer] = scripts.run(client, publishing.FUNCTION.call(keys.publishing, longest))
    assert answer[:2] == [b"OK", 2**53 - 1]
