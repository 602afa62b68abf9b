"""An exchange with the store that leaves time for something else: commands go out, the answers are taken later."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any


@contextmanager
def exchange(client: Any, commands: Sequence[Sequence[Any]]) -> Iterator[Callable[[], list[Any]]]:
    """Send `commands` in one go, and give what waits for their answers, to be called once.

    Raises the driver's errors, the first error that is an answer among them. Whatever is raised meanwhile ends the
    connection: an answer may still be under way on it.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        yield lambda: [connection.read_response() for _ in commands]
    except BaseException:
        connection.disconnect()
        raise
    finally:
        pool.release(connection)
