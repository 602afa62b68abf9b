"""Only the command reads the environment, and only `etlog serve` writes to it; the parts are given their settings."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PARTS = sorted(folder.parent.parent for folder in ROOT.glob("*/*/py.typed"))

#: What the module `os` has of the environment.
NAMES = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}

#: Outside `cli/`: where settings are read from an environment, and the documented default of `Producer()`.
READERS = {"events/etlog_events/settings.py", "producer/etlog_producer/producer.py"}


def uses(tree: ast.AST) -> Iterator[ast.Attribute]:
    """Where code reads or writes the environment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            assert not NAMES & {name.name for name in node.names}, "import os, and say os.environ"
        elif isinstance(node, ast.Attribute) and node.attr in NAMES | {"from_environment"}:
            yield node


def tree(file: Path) -> ast.AST:
    """The code of a module."""
    return ast.parse(file.read_text())


def modules(part: Path) -> list[Path]:
    """The modules of a part."""
    return [file for file in part.rglob("*.py") if ".venv" not in file.parts]


@pytest.mark.parametrize("part", [part for part in PARTS if part.name != "cli"], ids=lambda part: part.name)
def test_a_part_does_not_read_the_environment(part: Path) -> None:
    """Its settings are arguments."""
    found = {str(file.relative_to(ROOT)) for file in modules(part) if any(uses(tree(file)))}

    assert modules(part)
    assert found <= READERS


def test_the_producer_reads_it_only_when_it_is_made() -> None:
    """In its constructor, for what it was not given."""
    code = tree(ROOT / "producer" / "etlog_producer" / "producer.py")
    functions = [node for node in ast.walk(code) if isinstance(node, ast.FunctionDef)]
    [constructor] = [function for function in functions if function.name == "__init__"]

    assert [ast.unparse(use) for use in uses(code)] == ["Settings.from_environment"]
    assert len(list(uses(constructor))) == 1


def test_only_serve_writes_to_it() -> None:
    """Where the worker processes of uvicorn read their settings."""
    writers = set()
    for file in modules(ROOT / "cli"):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("os.environ."):
                writers.add(file.name)
            if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                assert ast.unparse(node.value) != "os.environ", file

    assert writers == {"serve.py"}
