"""Tests that wait long begin to wait when the session begins, and are asked last."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.harness import ROOT

LONG = "test_q01_q02_silence"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG in item.nodeid)


@pytest.fixture(scope="session", autouse=True)
def silent_program(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str] | None]:
    """The program of silence.py, if a test of this session asks for what it finds at full length."""
    if not any(LONG in item.nodeid and item.get_closest_marker("long") for item in request.session.items):
        yield None
        return
    command = [sys.executable, "-m", "tests.regressions.silence"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()
