"""Virtual environments with chosen versions of the dependencies: made by pip at first use, kept under .cache/tests."""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.harness import ROOT
from tests.tools import skip_without

CACHE = ROOT / ".cache" / "tests"

PUBLISHED = {"protobuf": {"5.29": "5.29.1"}}
"""The first release of a line, where the index does not have its .0."""


FRAMEWORKS = ("google-adk", "langgraph", "openai-agents", "pydantic-ai")
"""Extras of agent frameworks. Each is tested in an environment of its own: what they ask for may not fit together."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A name and what pip is asked for. `newest` ones are made anew each week."""

    name: str
    requirements: tuple[str, ...]
    newest: bool = False
    interpreter: str = sys.executable

    @property
    def stamp(self) -> str:
        """What the environment on disk must have been made of, to be used."""
        year, week, _ = datetime.now(UTC).isocalendar()
        when = f"{year}-W{week:02}" if self.newest else ""
        return json.dumps([sys.version, self.interpreter, self.requirements, when])


def claimed() -> list[str]:
    """The versions of Python that pyproject.toml claims, the lowest first."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    claim = "Programming Language :: Python :: 3."
    return [text.removeprefix(claim.removesuffix("3.")) for text in classifiers if text.startswith(claim)]


def declared() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for: the requirements of the base install under "", then those of each extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name != "dev"}
    return {
        name: [Requirement(line) for line in lines] for name, lines in {"": project["dependencies"], **extras}.items()
    }


def required(*extras: str, python: str = f"{sys.version_info.major}.{sys.version_info.minor}") -> list[Requirement]:
    """Return the requirements of the base install and of these extras that apply to a version of Python."""
    variables = {"python_version": python, "python_full_version": f"{python}.0"}
    found = declared()
    asked = [requirement for name in ("", *extras) for requirement in found[name]]
    return [each for each in asked if each.marker is None or each.marker.evaluate(variables)]


def floor(requirement: Requirement) -> str:
    """The lowest version that a requirement allows."""
    [lowest] = [each.version for each in requirement.specifier if each.operator == ">="]
    return PUBLISHED.get(requirement.name, {}).get(lowest, lowest)


def named(requirement: Requirement) -> str:
    """Name and extras of a requirement."""
    return f"{requirement.name}[{','.join(sorted(requirement.extras))}]" if requirement.extras else requirement.name


def dependencies() -> dict[str, str]:
    """The run-time dependencies of pyproject.toml: name to the lowest version allowed."""
    return {each.name: floor(each) for each in required()}


def lowest(*extras: str, python: str = "3.11", **raised: str) -> tuple[str, ...]:
    """Each dependency at exactly its floor, except for those that are raised."""
    asked = required(*extras, python=python)
    floors = {each.name: "0" for each in asked}
    for each in asked:  # of several lines for one name the highest counts
        floors[each.name] = max(floors[each.name], floor(each), key=Version)
    pins = {named(each): floors[each.name] for each in asked}
    pins |= {name.replace("_", "-"): version for name, version in raised.items()}
    return tuple(f"{name}=={version}" for name, version in pins.items())


def newest(*extras: str) -> tuple[str, ...]:
    """Each dependency without a version: the newest that there is."""
    return tuple(dict.fromkeys(named(each) for each in required(*extras)))


def framework(extra: str, *also: str) -> Environment:
    """The base install with the lowest version of a framework that its extra allows."""
    lines = [f"{named(each)}=={floor(each)}" for each in declared()[extra]]
    return Environment(f"framework-{extra}", (*lines, *also, *newest()))


def interpreter_of(version: str) -> str | None:
    """Return an interpreter of this version of Python, or None if the machine has none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    homes = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(homes[-1]) if homes else shutil.which(f"python{version}")


def python_of(environment: Environment) -> Path:
    """The interpreter of the environment, which is made if it is not there or not of the stamp.

    Without a package index the test is skipped; in CI it fails.
    """
    home = CACHE / environment.name
    python, stamp = home / "bin" / "python", home / "stamp.json"
    with _locked(environment.name):
        if stamp.is_file() and stamp.read_text() == environment.stamp:
            return python
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([environment.interpreter, "-m", "venv", "--without-pip", "--symlinks", home], check=True)
        installed = _pip("--python", str(python), "install", "--quiet", "--no-compile", *environment.requirements)
        if installed.returncode != 0:
            if _pip("index", "versions", "pip").returncode != 0:
                skip_without(f"the package index is not reachable: no environment '{environment.name}'")
            pytest.fail(f"environment '{environment.name}' cannot be made:\n{installed.stdout}{installed.stderr}")
        stamp.write_text(environment.stamp)
    return python


async def run(python: Path, *command: str, timeout_s: float = 100) -> str:
    """Runs a program with an environment's interpreter, this project importable from its working tree: what it prints.

    It must end well and leave nothing on standard error.
    """
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated")]),
        "TESTS_FORK": "",  # its libraries are not those that a fork imports
    }
    process = await asyncio.create_subprocess_exec(
        python, *command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), timeout_s)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise
    assert process.returncode == 0, err.decode()[-2000:]
    assert err == b"", err.decode()
    return out.decode()


def _pip(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Makes other test processes wait that want the same environment."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
