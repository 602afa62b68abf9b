"""The text of a TOML file: what it holds, and on which lines it stands."""

import re
import tomllib
from typing import Any

#: What stands at the start of a line: the header of a table, or a key.
_HEADER = re.compile(r"\s*(\[\[?)\s*\"?([\w-]+)\"?\s*\]")
_KEY = re.compile(r"\s*\"?([\w-]+)\"?\s*[=.]")


def tables_of(text: str) -> dict[str, Any]:
    """What a text holds. Raises `ValueError` with one sentence, which names the line."""
    if not text.endswith("\n"):
        text += "\n"  # so that what is wrong with the last line is said to be there
    try:
        return tomllib.loads(text)
    except RecursionError as e:
        raise ValueError("the file is not TOML: it is nested too deeply") from e
    except ValueError as e:  # a number may also have too many digits
        reason, _, place = str(e).partition(" (at ")
        found = re.match(r"line ([0-9]+)", place)
        line = found[1] if found else str(text.count("\n")) if place else None
        if reason in {"Invalid value", "Expected newline or end of document after a statement"}:
            reason += "; is it a text that must stand in quotes?"
        elif reason == "Cannot overwrite a value":
            reason = "a key is given twice in a table"
        elif twice := re.fullmatch(r"Cannot declare \('(\w+)',\) twice", reason):
            reason = f"[{twice[1]}] is given twice; several tables of one name are [[{twice[1]}]]"
        where = f"line {line}: " if line else ""
        raise ValueError(f"{where}the file is not TOML: {reason[:1].lower()}{reason[1:]}") from e


def lines_of(text: str) -> dict[tuple[str | int, ...], int]:
    """The lines on which tables and their keys begin: (`expect`, 3) and (`expect`, 3, `every`) -> number of the line.

    Empty for a text that holds texts of several lines, in which anything might look like a key.
    """
    lines: dict[tuple[str | int, ...], int] = {}
    place: tuple[str | int, ...] = ()
    numbers: dict[str, int] = {}
    for number, line in enumerate(text.split("\n") if '"""' not in text and "'''" not in text else (), 1):
        if header := _HEADER.match(line):
            name = header[2]
            numbers[name] = numbers.get(name, -1) + 1
            place = (name, numbers[name]) if header[1] == "[[" else (name,)
            lines[place] = number
            lines.setdefault((name,), number)
        elif key := _KEY.match(line):
            lines.setdefault((*place, key[1]), number)
    return lines
