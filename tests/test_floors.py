"""The architecture as a test: imports lead to floors strictly below, and never round in a circle."""

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.harness import ROOT

FLOORS = {
    "cli": 6,
    "testing": 6,
    "server": 5,
    "sentinel": 5,
    "adapters": 5,
    "engine": 4,
    "push": 4,
    "listening": 4,
    "log": 3,
    "client": 3,
    "rpc": 3,
    "agent": 2,
    "store": 2,
    "bus": 2,
    "auth": 2,
    "registry": 2,
    "telemetry": 2,
    "lifecycle": 1,
    "parts": 1,
    "plain": 0,
    "arguments": 1,
    "harmless": 1,
    "bounded": 1,
    "shortage": 1,
    "address": 1,
    "logical": 1,
    "pem": 1,
    "libpq": 0,
    "loglines": 2,
    "database": 1,
    "wire": 0,
    "errors": 0,
    "forking": 0,
    "ids": 0,
    "principal": 0,
    "private": 0,
    "config": 0,
    "masking": 0,
    "text": 0,
    "protocol": 0,
    "backoff": 0,
    "counting": 0,
    "uncancelled": 0,
    "deadlines": 0,
    "unclosed": 0,
    "watched": 1,
    "regular": 0,
    "libc": 0,
    "offload": 0,
    "piecewise": 1,
    "throttle": 0,
    "signals": 0,
}
PACKAGE = ROOT / "a2a_grpc"
ENTRY = {PACKAGE / "__init__.py", PACKAGE / "__main__.py"}
MODULES = sorted(set(PACKAGE.rglob("*.py")) - ENTRY)
PACKAGES = sorted({path.parent for path in PACKAGE.glob("*/**/__init__.py")} - set(PACKAGE.rglob("migrations/**")))
FORBIDDEN = {"utils", "helpers", "common", "base", "core", "types"}


def unit(path: Path) -> str:
    """The floor-bearing part of a module's name: `engine` for a2a_grpc/engine/run.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, level=level, names=names):
                assert level == 0, f"{path}: imports are absolute"
                yield from (f"{module}.{alias.name}" for alias in names)


def test_a_module_imports_only_from_floors_strictly_below() -> None:
    for path in MODULES:
        own = unit(path)
        for name in imports(path):
            if not name.startswith("a2a_grpc."):
                continue
            other = name.split(".")[1]
            if other != own:
                assert other in FLOORS, f"{path}: {name} has no floor"
                assert FLOORS[other] < FLOORS[own], f"{path} (floor {FLOORS[own]}) imports {other} ({FLOORS[other]})"


def test_rpc_knows_neither_stores_nor_databases() -> None:
    names = {name for path in PACKAGE.glob("rpc/*.py") for name in imports(path)}
    assert not [name for name in names if name.startswith(("a2a_grpc.store", "a2a_grpc.database", "a2a_grpc.bus"))]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_imports_of_modules_lead_round_in_a_circle() -> None:
    """Imports inside of functions and for types count too. A package is its `__init__`, and not its modules."""
    modules = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    imported = {
        module: {name if name in modules else name.rpartition(".")[0] for name in imports(path)} & modules.keys()
        for module, path in modules.items()
    }
    try:
        TopologicalSorter({module: names - {module} for module, names in imported.items()}).prepare()
    except CycleError as circle:
        pytest.fail(" imports ".join(reversed(circle.args[1])))


def test_every_unit_has_a_floor() -> None:
    assert {unit(path) for path in MODULES} == set(FLOORS)


def docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""


def test_the_map_of_the_floors_is_true_and_fits_on_a_screen() -> None:
    text = docstring(PACKAGE / "__init__.py")
    floor, found = -1, []
    for number, name in re.findall(r"^    ([0-9 ])  (\w+) {2,}\S", text, re.MULTILINE):
        floor = int(number) if number.strip() else floor
        found.append((name, floor))
    assert sorted(found) == sorted(FLOORS.items())
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_map_of_a_package_names_each_of_its_modules_once(package: Path) -> None:
    named = re.findall(r"^(\w+) {2,}\S", docstring(package / "__init__.py"), re.MULTILINE)
    found = {path.stem for path in package.glob("*.py")} | {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted(named) == sorted(found - {"__init__"})


def test_no_module_is_named_after_nothing() -> None:
    assert {path.stem for path in MODULES} & FORBIDDEN == set()
    assert {path.parent.name for path in MODULES} & FORBIDDEN == set()


def test_every_module_says_what_it_is() -> None:
    assert [path for path in MODULES if not docstring(path)] == []


def test_the_top_level_of_the_repository_is_as_designed() -> None:
    visible = {path.name for path in ROOT.iterdir() if not path.name.startswith(".") and path.suffix != ".egg-info"}
    files = {"pyproject.toml", "mkdocs.yml", "Makefile", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE"}
    folders = {"proto", "generated", "a2a_grpc", "servers", "clients", "tests", "tools", "benchmarks", "docs", "deploy"}
    assert visible - {"bin"} == files | folders  # bin is what `make grpcurl` makes


@pytest.mark.parametrize("folder", ["servers", "clients"])
def test_programs_use_public_names_only(folder: str) -> None:
    for path in (ROOT / folder).glob("*.py"):
        for name in imports(path):
            assert not any(part.startswith("_") for part in name.split(".")), f"{path.name} imports {name}"


def test_the_page_of_the_architecture_shows_each_package_on_its_floor_and_describes_it() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().partition("## The modules and their floors")[2]
    shown = {name: int(line[1]) for line in re.findall(r"^ \d   .*$", page, re.MULTILINE) for name in line[2:].split()}
    described = "".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    assert {name: floor for name, floor in FLOORS.items() if floor > 0}.items() <= shown.items()
    for name in {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}:
        assert f"`{name}`" in described, name
