"""Running etlog's Lua scripts by their SHA, and functions by their name, in one round trip with other commands where
that is wanted.

A store that was restarted, failed over or flushed does not know a script, a new one no function. It is given the text,
once, and the first call that it refused is sent again, with all that stands behind it, because that ran too early. So
behind a call of a script, only what may run early and twice belongs in the same round trip: what reads, WAIT, and a
script that recognizes a repetition, as `publish.lua` does.

    APPLY = Script.load("etlog_consumer:head.lua", "etlog_events:contract.lua", "etlog_consumer:apply.lua")
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

#: What makes a script or function known to the store, by its SHA or name.
_loads: dict[str, Command] = {}


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; `sha` is the store's name for it."""

    text: str = field(repr=False)
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text.encode()).hexdigest())  # noqa: S324 - a name, not a secret
        _loads[self.sha] = ("SCRIPT", "LOAD", self.text)

    @classmethod
    def load(cls, *parts: str) -> "Script":
        """The script made of these files, in their order; a part is `package:name.lua`."""
        split = [part.partition(":") for part in parts]
        return cls("\n".join((files(package) / name).read_text(encoding="utf-8") for package, _, name in split))

    def call(self, keys: Sequence[Any], args: Sequence[Any] = ()) -> Command:
        """The command that calls it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)

    def run(self, client: Any, keys: Sequence[Any], args: Sequence[Any] = ()) -> Any:
        """Its answer. Raises the driver's errors, `ResponseError` for what the script itself refuses."""
        return run(client, self.call(keys, args))[0]

    async def run_async(self, client: Any, keys: Sequence[Any], args: Sequence[Any] = ()) -> Any:
        """`run` over a client for asyncio."""
        return (await run_async(client, self.call(keys, args)))[0]


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the store, alone in its library. `body` is a script that takes `KEYS` and `ARGV`."""

    name: str
    library: str
    body: str = field(repr=False)

    def __post_init__(self) -> None:
        _loads[self.name] = self.load

    @property
    def text(self) -> str:
        """The text of the library."""
        return (
            f"#!lua name={self.library}\nlocal function run(KEYS, ARGV)\n{self.body}\nend\n"
            f"redis.register_function('{self.name}', run)\n"
        )

    @property
    def load(self) -> Command:
        """The command that loads it where it is not there."""
        return ("FUNCTION", "LOAD", self.text)

    def call(self, keys: Sequence[Any], args: Sequence[Any] = ()) -> Command:
        """The command that calls it."""
        return ("FCALL", self.name, len(keys), *keys, *args)


def run(client: Any, *commands: Command) -> list[Any]:
    """The answers to `commands`, sent together, as the store gives them.

    Raises the driver's errors, the first error among the answers.
    """
    with exchange(client, commands) as take_answers:
        answers = take_answers()
    return without_errors(answers)


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
        loads, again = _repeat(commands, answers)
        if loads:
            _put(answers, again, await ask([*loads, *(commands[place] for place in again)]))
    except BaseException:
        await connection.disconnect(nowait=True)  # an answer may still be under way
        raise
    finally:
        await pool.release(connection)
    return without_errors(answers)


@contextmanager
def exchange(client: Any, commands: Sequence[Command]) -> Iterator[Callable[[], list[Any]]]:
    """Send `commands` together, and give the function that waits for their answers, to be called once.

    An error that is an answer stands in its place among them. The connection ends with a block that has not taken all
    answers, because one may still be under way on it.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    taken = False

    def send(commands: Sequence[Command]) -> None:
        connection.send_packed_command(connection.pack_commands(commands))

    def read(count: int) -> list[Any]:
        answers = []
        for _ in range(count):
            try:
                answers.append(connection.read_response())
            except ResponseError as e:
                answers.append(e)
        return answers

    def take() -> list[Any]:
        nonlocal taken
        answers = read(len(commands))
        loads, again = _repeat(commands, answers)
        if loads:
            send([*loads, *(commands[place] for place in again)])
            _put(answers, again, read(len(loads) + len(again)))
        taken = True
        return answers

    try:
        send(commands)
        yield take
    finally:
        if not taken:
            connection.disconnect()
        pool.release(connection)


def without_errors(answers: list[Any]) -> list[Any]:
    """`answers`. Raises the first error among them."""
    for answer in answers:
        if isinstance(answer, RedisError):
            raise answer
    return answers


def _repeat(commands: Sequence[Command], answers: Sequence[Any]) -> tuple[list[Command], range]:
    """The commands that make unknown scripts known, and the places of the commands to send again behind them."""
    unknown = [place for place, answer in enumerate(answers) if _is_unknown(answer)]
    names = dict.fromkeys(commands[place][1] for place in unknown)
    loads = [_loads[name] for name in names if name in _loads]
    return loads, range(unknown[0], len(commands)) if loads else range(0)


def _is_unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError) or (
        isinstance(answer, ResponseError) and "function not found" in str(answer).lower()
    )


def _put(answers: list[Any], places: Sequence[int], repeated: Sequence[Any]) -> None:
    """Put what was answered to the loads and the repeated commands in place. Raises the first error of a load."""
    loaded = len(repeated) - len(places)
    without_errors([answer for answer in repeated[:loaded] if "already exists" not in str(answer)])
    for place, answer in zip(places, repeated[loaded:], strict=True):
        answers[place] = answer
