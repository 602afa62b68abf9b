"""What etlog says in its log lines."""

from collections.abc import Callable
from typing import TypeAlias

#: The fixture `logged`: the texts of the log lines of an action, from INFO on, oldest first.
Logged: TypeAlias = Callable[[str], list[str]]
