"""Scripts run by their SHA and functions by their name, alone and together with other commands; a store that does not
know one is given it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.scripts import Command, Function, Script, exchange, run, run_async
from etlog_events.store import connect, connect_async
from redis.exceptions import NoScriptError
from support.servers import Server, wait_until

#: Adds to a number, and returns it.
ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
#: The same under another name.
ADD_AS_WELL = Script("return redis.call('INCRBY', KEYS[1], ARGV[1]) -- as well")
#: The same as a function of the store.
ADD_AS_FUNCTION = Function("test_add", "test_adding", ADD.text)
REFUSE = Script("return redis.error_reply('NO not this')")

Run = Callable[..., list[Any]]


@pytest.fixture(params=["blocking", "asyncio"])
def run_on(request: pytest.FixtureRequest) -> Run:
    """`run` on a store at an address, by one client and by the other."""

    def blocking(url: str, *commands: Command) -> list[Any]:
        with connect(url, part="test") as client:
            return run(client, *commands)

    async def by_asyncio(url: str, *commands: Command) -> list[Any]:
        async with connect_async(url, part="test") as client:
            return await run_async(client, *commands)

    return blocking if request.param == "blocking" else lambda *given: asyncio.run(by_asyncio(*given))


@pytest.fixture(params=["blocking", "asyncio"])
def run_on_one(request: pytest.FixtureRequest, store_url: str) -> Iterator[Run]:
    """`run` on the store by one client, which holds its connection from one call to the next."""
    if request.param == "blocking":
        with connect(store_url, part="test") as client:
            yield partial(run, client)
        return
    with asyncio.Runner() as runner:
        by_asyncio = connect_async(store_url, part="test")
        yield lambda *commands: runner.run(run_async(by_asyncio, *commands))
        runner.run(by_asyncio.aclose())


@pytest.fixture
def key(client: redis.Redis, keys: Keys) -> str:
    """A key of the test's log, on a store that knows no script and no function."""
    client.script_flush()
    client.function_flush()
    return keys.cursor


def test_its_name_is_the_one_that_the_store_gives_it(client: redis.Redis) -> None:
    """So nobody has to ask the store for it."""
    assert client.script_load(ADD.text) == ADD.sha


def test_a_script_is_made_of_files() -> None:
    """The first line is that of the first file, where the store looks for flags."""
    script = Script.load("etlog_consumer:head.lua", "etlog_events:contract.lua", "etlog_consumer:lease.lua")

    assert script.text.startswith("#!lua ")
    assert script.text.endswith(Script.load("etlog_consumer:lease.lua").text)


def test_an_unknown_script_is_run_once(store_url: str, client: redis.Redis, key: str, run_on: Run) -> None:
    """And is known from then on."""
    assert run_on(store_url, ADD.call([key], [2])) == [2]
    assert client.script_exists(ADD.sha) == [True]
    assert run_on(store_url, ADD.call([key], [2])) == [4]


def test_a_script_runs_by_itself(store_url: str, key: str) -> None:
    """Its answer alone is returned."""

    async def by_asyncio() -> Any:
        async with connect_async(store_url, part="test") as client:
            return await ADD.run_async(client, [key], [3])

    with connect(store_url, part="test") as client:
        assert ADD.run(client, [key], [2]) == 2
    assert asyncio.run(by_asyncio()) == 5


def test_the_answers_are_in_the_order_of_the_commands(store_url: str, key: str, run_on: Run) -> None:
    """What stands behind a script is from after it, whether the store knew the script or not."""
    commands = [("GET", key), ADD.call([key], [2]), ("GET", key), ADD.call([key], [3]), ("GET", key)]

    assert run_on(store_url, *commands) == [None, 2, b"2", 5, b"5"]
    assert run_on(store_url, *commands) == [b"5", 7, b"7", 10, b"10"]


def test_what_stands_before_an_unknown_script_is_not_repeated(store_url: str, key: str, run_on: Run) -> None:
    """It ran in time."""
    assert run_on(store_url, ("INCR", key), ADD.call([key], [2])) == [1, 3]


def test_what_stands_behind_an_unknown_script_runs_after_it(
    store_url: str, client: redis.Redis, key: str, run_on: Run
) -> None:
    """A known script, too, which is therefore one that recognizes a repetition; the answers are the later ones."""
    client.script_load(ADD.text)

    assert run_on(store_url, ADD_AS_WELL.call([key], [10]), ADD.call([key], [1])) == [11, 12]


def test_each_unknown_script_is_loaded(store_url: str, client: redis.Redis, key: str, run_on: Run) -> None:
    """In one more round trip."""
    assert run_on(store_url, ADD.call([key], [1]), ADD_AS_WELL.call([key], [1])) == [1, 2]
    assert client.script_exists(ADD.sha, ADD_AS_WELL.sha) == [True, True]


def test_the_first_error_is_raised_and_leaves_no_answer_behind(store_url: str, key: str, run_on: Run) -> None:
    """The commands behind it have run, and no later call takes one of their answers."""
    with pytest.raises(redis.ResponseError, match=r"^NO not this$"):
        run_on(store_url, REFUSE.call([]), ("NONSENSE",), ("INCR", key))

    assert run_on(store_url, ("GET", key)) in ([b"1"], [b"2"])
    with connect(store_url, part="test") as client:
        with pytest.raises(redis.ResponseError):
            run(client, REFUSE.call([]), ("ECHO", "old"))
        assert client.echo("new") == b"new"


def test_a_store_that_may_not_be_given_a_script_says_so(server: Server, run_on: Run) -> None:
    """Rather than that it does not know the script."""
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "default", "-script|load")

    with pytest.raises(redis.exceptions.NoPermissionError):
        run_on(server.url, ADD.call(["key"], [1]))


def test_a_script_of_another_program_is_not_loaded(store_url: str, run_on: Run) -> None:
    """Its text is not known here."""
    with pytest.raises(NoScriptError):
        run_on(store_url, ("EVALSHA", "0" * 40, 0))


def test_a_function_is_loaded_where_the_store_has_none(
    store_url: str, client: redis.Redis, key: str, run_on: Run
) -> None:
    """It runs once, and the store has it from then on."""
    assert run_on(store_url, ADD_AS_FUNCTION.call([key], [2])) == [2]
    [library] = client.function_list("test_adding")
    assert b"test_adding" in library
    assert run_on(store_url, ADD_AS_FUNCTION.call([key], [2])) == [4]


def test_a_function_that_the_store_lost_is_loaded_again(client: redis.Redis, key: str, run_on_one: Run) -> None:
    """As after FUNCTION FLUSH, or on another server; the connection is kept."""
    [before] = run_on_one(("CLIENT", "ID"))
    for number in (1, 2, 3):
        assert run_on_one(("ECHO", "a"), ADD_AS_FUNCTION.call([key], [1]), ("GET", key)) == [
            b"a",
            number,
            str(number).encode(),
        ]
        client.function_flush()
    assert run_on_one(("CLIENT", "ID")) == [before]


def test_scripts_and_functions_are_loaded_together(
    store_url: str, client: redis.Redis, key: str, run_on: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one more round trip, and what stands behind the first that was unknown runs after it."""
    sent = []
    for kind in (redis.connection.AbstractConnection, redis.asyncio.connection.AbstractConnection):
        pack = kind.pack_commands

        def counted(self: Any, commands: Sequence[Command], pack: Any = pack) -> Any:
            sent.append([command[0] for command in commands])
            return pack(self, commands)

        monkeypatch.setattr(kind, "pack_commands", counted)
    calls = [ADD.call([key], [1]), ADD_AS_FUNCTION.call([key], [10]), ADD_AS_WELL.call([key], [100])]

    assert run_on(store_url, *calls, ("GET", key)) == [1, 11, 111, b"111"]

    names = ["EVALSHA", "FCALL", "EVALSHA", "GET"]
    assert sent[-2:] == [names, ["SCRIPT", "FUNCTION", "SCRIPT", *names]]
    assert client.script_exists(ADD.sha, ADD_AS_WELL.sha) == [True, True]


def test_an_error_of_a_function_is_no_missing_function(
    store_url: str, client: redis.Redis, key: str, run_on: Run
) -> None:
    """It has run, and is not called again."""
    failing = Function("test_fail", "test_failing", "redis.call('INCR', KEYS[1]) return redis.error_reply('NO')")

    with pytest.raises(redis.ResponseError, match=r"^NO"):
        run_on(store_url, failing.call([key]))

    assert client.get(key) == b"1"


def test_who_may_not_load_a_function_says_so_until_someone_has(server: Server, run_on: Run) -> None:
    """Then it runs."""
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "stage", "on", ">secret", "~*", "+@all", "-function|load")
        url = server.url.replace("redis://", "redis://stage:secret@")
        with pytest.raises(redis.exceptions.NoPermissionError, match=r"function\|load"):
            run_on(url, ADD_AS_FUNCTION.call(["key"], [2]))

        client.execute_command(*ADD_AS_FUNCTION.load)

        assert run_on(url, ADD_AS_FUNCTION.call(["key"], [2])) == [2]


class Forgetful:
    """A client of a store that forgets every script and function at once; what it says to a load is `loading`."""

    def __init__(self, unknown: redis.ResponseError, times: int = 100, loading: Any = b"name") -> None:
        self.connection_pool = self
        self.sent: list[str] = []
        self._unknown, self._times, self._loading = unknown, times, loading
        self._answered = 0

    def get_connection(self) -> "Forgetful":
        """The connection."""
        return self

    def pack_commands(self, commands: Sequence[Command]) -> list[str]:
        """The names of the commands."""
        return [command[0] for command in commands]

    def send_packed_command(self, names: Sequence[str]) -> None:
        """Take commands."""
        self.sent += names

    def read_response(self) -> Any:
        """The next answer."""
        name = self.sent[self._answered]
        self._answered += 1
        if name in {"EVALSHA", "FCALL"}:
            if not self._times:
                return b"done"
            self._times -= 1
            raise self._unknown
        if isinstance(self._loading, Exception):
            raise self._loading
        return self._loading

    def disconnect(self) -> None:
        """End it."""

    def release(self, connection: "Forgetful") -> None:
        """Take it back."""


NO_FUNCTION = redis.ResponseError("Function not found")


def test_a_store_that_forgets_at_once_is_not_asked_for_ever() -> None:
    """The text is sent once more, and then that is the caller's affair."""
    store = Forgetful(NoScriptError("no matching script"))
    with pytest.raises(NoScriptError):
        ADD.run(store, ["key"], [1])
    assert store.sent == ["EVALSHA", "SCRIPT", "EVALSHA"]

    store = Forgetful(NO_FUNCTION)
    with pytest.raises(redis.ResponseError, match=r"^Function not found$"):
        run(store, ADD_AS_FUNCTION.call(["key"], [1]))
    assert store.sent == ["FCALL", "FUNCTION", "FCALL"]


def test_a_function_that_another_loads_at_the_same_time_is_called() -> None:
    """It is there, and that is what was wanted."""
    store = Forgetful(NO_FUNCTION, 1, redis.ResponseError("Library 'test_adding' already exists"))

    assert run(store, ADD_AS_FUNCTION.call(["key"], [1])) == [b"done"]


def test_a_function_that_cannot_be_loaded_is_an_error() -> None:
    """The one that the store gives."""
    store = Forgetful(NO_FUNCTION, 1, redis.ResponseError("OOM command not allowed"))

    with pytest.raises(redis.ResponseError, match=r"^OOM "):
        run(store, ADD_AS_FUNCTION.call(["key"], [1]))


def test_the_store_works_before_the_answers_are_taken(client: redis.Redis, keys: Keys, store_url: str) -> None:
    """An exchange leaves time for something else."""
    commands = [("SET", keys.cursor, "1"), ("GET", keys.cursor), ("ECHO", "last")]
    with connect(store_url, part="test") as exchanging, exchange(exchanging, commands) as answers:
        wait_until(lambda: client.get(keys.cursor) == b"1", what="the first command")
        assert answers() == [b"OK", b"1", b"last"]


def test_an_error_in_an_exchange_stands_in_its_place(store_url: str) -> None:
    """The caller may want the other answers."""
    with connect(store_url, part="test") as exchanging:
        with exchange(exchanging, [REFUSE.call([]), ("ECHO", "behind")]) as answers:
            refused, behind = answers()

        assert isinstance(refused, redis.ResponseError)
        assert behind == b"behind"
        assert exchanging.echo("new") == b"new"


def test_a_failure_within_an_exchange_leaves_no_answer_behind(store_url: str) -> None:
    """The connection ends with it."""
    with connect(store_url, part="test") as exchanging:
        with pytest.raises(ZeroDivisionError), exchange(exchanging, [("ECHO", "old")]):
            1 / 0  # noqa: B018

        assert exchanging.echo("new") == b"new"


def test_an_exchange_whose_answers_are_not_taken_leaves_none_behind(store_url: str, keys: Keys) -> None:
    """Not even one that comes after the block has ended."""
    with connect(store_url, part="test") as exchanging:
        with exchange(exchanging, [("BLPOP", keys.dead, 0.1)]):
            pass

        assert exchanging.echo("new") == b"new"


def test_a_refusal_keeps_the_connection(run_on_one: Run) -> None:
    """Every answer is read, and a new connection would cost more than the call."""
    [before] = run_on_one(("CLIENT", "ID"))

    with pytest.raises(redis.ResponseError, match=r"^NO not this$"):
        run_on_one(REFUSE.call([]))

    assert run_on_one(("CLIENT", "ID")) == [before]


def test_a_task_that_is_cancelled_leaves_no_answer_behind(store_url: str, keys: Keys) -> None:
    """It was waiting for one."""

    async def cancelled() -> list[Any]:
        async with connect_async(store_url, part="test", answer_timeout=None, max_connections=1) as client:
            waiting = asyncio.create_task(run_async(client, ("BLPOP", keys.dead, 30)))
            with connect(store_url, part="test") as other:
                await asyncio.to_thread(
                    wait_until, lambda: other.info("clients")["blocked_clients"] >= 1, what="it to wait"
                )
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            return await run_async(client, ("ECHO", "new"))

    assert asyncio.run(cancelled()) == [b"new"]
