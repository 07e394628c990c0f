"""Virtual environments with chosen versions of the dependencies: made by pip at first use, kept under .cache/tests."""

import asyncio
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.harness import ROOT

CACHE = ROOT / ".cache" / "tests"

PUBLISHED = {"protobuf==5.29": "protobuf==5.29.1"}
"""The first release of a line, where the index does not have its .0."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A name and what pip is asked for. `newest` ones are made anew each week."""

    name: str
    requirements: tuple[str, ...]
    newest: bool = False

    @property
    def stamp(self) -> str:
        """What the environment on disk must have been made of, to be used."""
        year, week, _ = datetime.now(UTC).isocalendar()
        when = f"{year}-W{week:02}" if self.newest else ""
        return json.dumps([sys.version, self.requirements, when])


def dependencies() -> dict[str, str]:
    """The run-time dependencies of pyproject.toml: name to the lowest version allowed."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = [re.fullmatch(r"([\w-]+)>=([\d.]+)", dependency) for dependency in declared]
    assert all(floors), f"a dependency is not of the form name>=version: {declared}"
    return {match[1]: match[2] for match in floors if match}


def lowest(**raised: str) -> tuple[str, ...]:
    """Each dependency at exactly its floor, but for those that are raised."""
    floors = dependencies() | {name.replace("_", "-"): version for name, version in raised.items()}
    return tuple(PUBLISHED.get(pin, pin) for pin in (f"{name}=={version}" for name, version in floors.items()))


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
        venv.create(home, symlinks=True)
        installed = _pip("--python", str(python), "install", "--quiet", *environment.requirements)
        if installed.returncode != 0:
            if os.environ.get("CI") != "true" and _pip("index", "versions", "pip").returncode != 0:
                pytest.skip(f"environment '{environment.name}' cannot be made: the package index is unreachable")
            pytest.fail(f"environment '{environment.name}' cannot be made:\n{installed.stdout}{installed.stderr}")
        stamp.write_text(environment.stamp)
    return python


async def run(python: Path, *command: str, timeout_s: float = 100) -> str:
    """Runs a program with an environment's interpreter, this project importable from its working tree: what it prints.

    It must end well and leave nothing on standard error.
    """
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "generated")])}
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
