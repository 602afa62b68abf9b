"""Every error that a part raises is in one tree, and that is drawn where its root is."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from etlog_events import errors
from etlog_events.errors import EtlogError

ROOT = Path(__file__).parents[2]

#: The folder of each part, and its package.
PARTS = {
    file.parent.name: next(file.parent.glob("*/__init__.py")).parent.name for file in ROOT.glob("*/pyproject.toml")
}


def defined_in(package: str) -> Iterator[type[BaseException]]:
    """The exceptions that the modules of a package define."""
    top = importlib.import_module(package)
    for name in [package, *(found.name for found in pkgutil.walk_packages(top.__path__, f"{package}."))]:
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and issubclass(value, BaseException) and value.__module__ == name:
                yield value


def drawn() -> dict[str, tuple[str, str, set[str]]]:
    """The parent, the part and the other bases of each error in the drawing."""
    found, path = {}, [EtlogError.__name__]
    for branch, name, part, text in re.findall(
        r"^((?:│   |    )*)[├└]── (\w+) +(?:(\w+): )?(.*)$", errors.__doc__ or "", re.MULTILINE
    ):
        depth = len(branch) // 4 + 1
        path[depth:] = [name]
        found[name] = (path[depth - 1], part or "events", set(re.findall(r"also an? (\w+)", text)))
    return found


def test_the_parts_are_found() -> None:
    """All of them, so that none can be left out of the tests below."""
    assert {"events": "etlog_events", "api": "etlog_api", "cli": "etlog"}.items() <= PARTS.items()
    assert len(PARTS) >= 6


@pytest.mark.parametrize("part", PARTS)
def test_every_error_is_in_the_tree(part: str) -> None:
    """A caller that catches `EtlogError` has caught whatever a part raises on purpose."""
    assert [error for error in defined_in(PARTS[part]) if not issubclass(error, EtlogError)] == []


def test_the_tree_is_drawn_as_it_is() -> None:
    """With the part that each error is from, and what else it is."""
    tree = {}
    for part, package in PARTS.items():
        for error in defined_in(package):
            if error is not EtlogError:
                parent = error.__bases__[0]
                tree[error.__name__] = (parent.__name__, part, {base.__name__ for base in error.__bases__[1:]})
    assert drawn() == tree


def test_every_error_says_when_it_is_raised() -> None:
    """In the first words of its docstring."""
    found = [error for package in PARTS.values() for error in defined_in(package) if error is not EtlogError]
    assert [error for error in found if not (error.__doc__ or "").startswith("Raised ")] == []
