"""Running etlog's Lua scripts by their SHA, in one round trip with other commands where that is wanted.

A store that does not know a script, because it was restarted, failed over or flushed, is given its text over the same
connection, and what came from that call on is sent again: in order, and each script once, for one that was unknown has
done nothing.

    APPLY = Script.load("etlog_consumer:head.lua", "etlog_consumer:apply.lua")
    APPLY.run(client, keys, args)                                  blocking
    await APPLY.run_async(client, keys, args)                      asyncio
    run(client, APPLY.call(keys, args), ("GET", key))              in a pipeline, blocking or `run_async`
    with exchange(client, [APPLY.call(keys, args)]) as answers:    with time for something else in between
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

#: Name and arguments, as a connection of the driver takes them.
Command = Sequence[Any]

#: The text of each script of this process, by its SHA.
_texts: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; `sha` is the store's name for it."""

    text: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text.encode()).hexdigest())  # noqa: S324 - a name, not a secret
        _texts[self.sha] = self.text

    @classmethod
    def load(cls, *parts: str) -> "Script":
        """The script that these files are, one behind the other; a part is `package:name.lua`."""
        split = [part.partition(":") for part in parts]
        return cls("\n".join((files(package) / name).read_text() for package, _, name in split))

    def call(self, keys: Sequence[Any], args: Sequence[Any] = ()) -> Command:
        """The command that calls it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def run(self, client: Any, keys: Sequence[Any], args: Sequence[Any] = ()) -> Any:
        """Its answer. Raises the driver's errors, `ResponseError` for what the script itself refuses."""
        return run(client, self.call(keys, args))[0]

    async def run_async(self, client: Any, keys: Sequence[Any], args: Sequence[Any] = ()) -> Any:
        """`run` over a client for asyncio."""
        return (await run_async(client, self.call(keys, args)))[0]


def run(client: Any, *commands: Command) -> list[Any]:
    """The answers to `commands`, sent together, as the store gives them.

    Raises the driver's errors, the first error among the answers.
    """
    with exchange(client, commands) as answers:
        return without_errors(answers())


async def run_async(client: Any, *commands: Command) -> list[Any]:
    """`run` over a client for asyncio."""
    pool = client.connection_pool
    connection = await pool.get_connection()

    async def ask(commands: Sequence[Command]) -> list[Any]:
        await connection.send_packed_command(connection.pack_commands(commands))
        answers = []
        for _ in commands:
            try:
                answers.append(await connection.read_response())
            except ResponseError as e:
                answers.append(e)
        return answers

    try:
        answers = await ask(commands)
        while (first := _first_unknown(answers)) is not None:
            without_errors(await ask(_loads(commands, answers)))
            answers[first:] = await ask(commands[first:])
    except BaseException:
        await connection.disconnect()  # an answer may still be under way
        raise
    finally:
        await pool.release(connection)
    return without_errors(answers)


@contextmanager
def exchange(client: Any, commands: Sequence[Command]) -> Iterator[Callable[[], list[Any]]]:
    """Send `commands` together, and give the function that waits for their answers, to be called once.

    An error that is an answer stands in its place among them. Whatever is raised inside ends the connection, for an
    answer may still be under way on it.
    """
    pool = client.connection_pool
    connection = pool.get_connection()

    def send(commands: Sequence[Command]) -> None:
        connection.send_packed_command(connection.pack_commands(commands))

    def read(commands: Sequence[Command]) -> list[Any]:
        answers = []
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except ResponseError as e:
                answers.append(e)
        return answers

    def answers() -> list[Any]:
        found = read(commands)
        while (first := _first_unknown(found)) is not None:
            loads = _loads(commands, found)
            send(loads)
            without_errors(read(loads))
            send(commands[first:])
            found[first:] = read(commands[first:])
        return found

    try:
        send(commands)
        yield answers
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def without_errors(answers: list[Any]) -> list[Any]:
    """`answers`. Raises the first error among them."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def _first_unknown(answers: Sequence[Any]) -> int | None:
    """Where the first answer stands that says that the store does not know a script."""
    return next((place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)), None)


def _loads(commands: Sequence[Command], answers: Sequence[Any]) -> list[Command]:
    """The commands that make the unknown scripts known."""
    unknown = {
        command[1] for command, answer in zip(commands, answers, strict=True) if isinstance(answer, NoScriptError)
    }
    return [("SCRIPT", "LOAD", _texts[sha]) for sha in unknown]
