"""What may happen to a spool file, and which events it can cost: those whose only bytes are gone."""

import json
import os
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_LINE = re.compile(rb"\d{1,16} [0-9a-f]{8} (\{.*\})")


class _Place(NamedTuple):
    """Where in a file an event is, from its first byte to behind its last one."""

    begin: int
    end: int
    size: int


def _places(path: Path) -> list[_Place]:
    found, at = [], 0
    for line in path.read_bytes().splitlines(keepends=True):
        with suppress(ValueError, TypeError):  # it was damaged before
            if match := _LINE.fullmatch(line.removesuffix(b"\n")):
                found.append(_Place(at, at + len(line), json.loads(match[1])["metadata"]["size"]))
        at += len(line)
    return found


def _of(places: list[_Place]) -> set[int]:
    return {place.size for place in places}


def remove(path: Path, _: random.Random) -> set[int]:
    """Remove the file. Returns the sizes of the events that it had, as do the others of those that they cost."""
    cost = _of(_places(path))
    path.unlink()
    return cost


def replace(path: Path, chance: random.Random) -> set[int]:
    """Put something else in its place: an older state of it, random bytes, nothing, a link, or a folder."""
    before = _places(path)
    text = path.read_bytes()
    path.unlink()
    what = chance.choice(["copy", "part", "noise", "empty", "link", "folder"])
    match what:
        case "copy":
            path.write_bytes(text)
            return set()
        case "part":
            kept = chance.randrange(len(text) + 1)
            path.write_bytes(text[:kept])
            return _of([place for place in before if place.end > kept])
        case "noise":
            path.write_bytes(chance.randbytes(chance.randint(1, 2000)))
        case "empty":
            path.touch()
        case "link":
            path.symlink_to("/dev/null")
        case "folder":
            path.mkdir()
    return _of(before)


def truncate(path: Path, chance: random.Random) -> set[int]:
    """Cut it off at a random byte."""
    before = _places(path)
    kept = chance.randrange(path.stat().st_size)
    os.truncate(path, kept)
    return _of([place for place in before if place.end > kept])


def flip(path: Path, chance: random.Random) -> set[int]:
    """Flip one bit."""
    before = _places(path)
    at = chance.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(at)
        [byte] = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 1 << chance.randrange(8)]))
    return _of([place for place in before if place.begin <= at < place.end])


def zero(path: Path, chance: random.Random) -> set[int]:
    """Write zeros over a part of it, as a power cut may leave them."""
    before = _places(path)
    length = path.stat().st_size
    at = chance.randrange(length)
    end = min(length, at + chance.choice([16, 512, 4096]))
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes(end - at))
    return _of([place for place in before if place.begin < end and at < place.end])


def append(path: Path, chance: random.Random) -> set[int]:
    """Add what does not belong there: noise, zeros, half a line, or a line that stands there already."""
    lines = path.read_bytes().splitlines(keepends=True) or [b"\n"]
    line = chance.choice(lines)
    added = chance.choice([chance.randbytes(500), bytes(500), line[: len(line) // 2], line, b"# delivered 1\n"])
    with path.open("ab") as file:
        file.write(added)
    return set()


def forbid(path: Path, _: random.Random) -> set[int]:
    """Let no one open it, until it is allowed again. Who sends the others meanwhile gives up what is in there."""
    cost = _of(_places(path))
    path.chmod(0)
    return cost


def replace_folder(path: Path, _: random.Random) -> set[int]:
    """Remove the folder with all that is in it, and put a file in its place."""
    cost = remove_folder(path, _)
    path.parent.touch()
    return cost


def remove_folder(path: Path, _: random.Random) -> set[int]:
    """Remove the folder with all that is in it."""
    cost: set[int] = set()
    for file in path.parent.glob("*.spool"):
        cost |= _of(_places(file))
    shutil.rmtree(path.parent)
    return cost


#: What damages a file, by the words of the table.
OF_FILES: dict[str, Callable[[Path, random.Random], set[int]]] = {
    "removed": remove,
    "replaced": replace,
    "truncated": truncate,
    "a bit flipped": flip,
    "overwritten by zeros": zero,
    "garbage appended": append,
    "made unreadable": forbid,
}
