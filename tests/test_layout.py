"""The layout: which part may import which, what modules are called, and how long they may be."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

#: The package of each part, and the packages of the parts that it may import.
MAY_IMPORT = {
    "etlog_events": set[str](),
    "etlog_ledger": {"etlog_events"},
    "etlog_producer": {"etlog_events"},
    "etlog_consumer": {"etlog_events", "etlog_ledger"},
    "etlog_api": {"etlog_events", "etlog_ledger"},
    "etlog_watch": {"etlog_events", "etlog_ledger"},
    "etlog_dev": {"etlog_events", "etlog_producer", "etlog"},
    "etlog": {
        "etlog_events",
        "etlog_ledger",
        "etlog_producer",
        "etlog_consumer",
        "etlog_api",
        "etlog_watch",
        "etlog_dev",
    },
}

#: What may be imported only where it is used: `etlog` works without it.
ONLY_LAZILY = {"etlog": {"etlog_dev"}}

PACKAGES = {folder.name: folder for folder in ROOT.glob("*/*") if folder.name in MAY_IMPORT and folder.is_dir()}

#: Lines. A longer module has a second subject.
LONGEST = 400

#: Names that any module could have.
EMPTY_NAMES = {"base", "common", "helper", "helpers", "manager", "misc", "tools", "util", "utils"}


def imported(tree: ast.AST) -> Iterator[str]:
    """The full names of all modules that are imported anywhere in `tree`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "an import relative to its package hides what is imported"
            assert node.module is not None
            yield node.module


def top(name: str) -> str:
    """The package that a module belongs to."""
    return name.partition(".")[0]


def at_once(tree: ast.Module) -> ast.Module:
    """What of a module runs as soon as it is imported."""

    class WithoutFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            """Left out."""

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            """Left out."""

    found: ast.Module = WithoutFunctions().visit(tree)
    return found


def test_every_part_is_known() -> None:
    """A new one is added to the table of what it may import."""
    parts = {path.parent.name for path in ROOT.glob("*/pyproject.toml")}

    assert {folder.parent.name for folder in PACKAGES.values()} == parts
    assert PACKAGES.keys() == MAY_IMPORT.keys()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_part_has_types(package: str) -> None:
    """For who imports it, too."""
    assert (PACKAGES[package] / "py.typed").exists()


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_part_imports_only_what_it_rests_on(package: str) -> None:
    """The API and the consumer know nothing of each other, and a stage needs neither."""
    allowed, lazily = MAY_IMPORT[package] | {package}, ONLY_LAZILY.get(package, set())
    for path in PACKAGES[package].rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert {top(name) for name in imported(tree)} & MAY_IMPORT.keys() <= allowed, path
        assert {top(name) for name in imported(at_once(tree))}.isdisjoint(lazily), path


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_module_is_named_after_its_subject(package: str) -> None:
    """Its name says what is in it."""
    for path in PACKAGES[package].rglob("*"):
        if path.suffix in {".py", ".lua"}:
            assert path.stem not in EMPTY_NAMES, path


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_module_is_short(package: str) -> None:
    """Whatever it is written in."""
    for path in PACKAGES[package].rglob("*"):
        if path.suffix in {".py", ".lua", ".js"}:
            assert len(path.read_text().splitlines()) <= LONGEST, path


def test_the_fixtures_need_only_what_the_hosts_of_stages_have() -> None:
    """Airflow and Dagster are tested in an environment of their own, with the packages that CONTRIBUTING.md names."""
    missing = ("fakeredis", "fastapi", "httpx", "uvicorn", "etlog", "etlog_api", "etlog_dev")
    source = f"import sys; sys.modules.update(dict.fromkeys({missing})); import conftest; from producer import conftest"
    command = [sys.executable, "-c", source]

    ended = subprocess.run(command, cwd=TESTS, stderr=subprocess.PIPE, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_tests_share_only_what_is_in_support() -> None:
    """A folder of tests imports nothing of another one."""
    folders = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"benchmarks"}  # it is a package beside tests/
    for path in TESTS.rglob("*.py"):
        if ".venv" in path.parts:  # the hosts'
            continue
        own = {"support"} | set(path.relative_to(TESTS).parts[:-1])
        found = {top(name) for name in imported(ast.parse(path.read_text()))} & (folders | {"conftest", "tests"})
        assert found <= own, path
