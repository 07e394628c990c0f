"""Fixtures of all tests, with the check that each test leaves nothing behind."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.harness import Served, scripted_agent, serving

pytest_plugins = ["tests.databases"]

os.environ.setdefault("A2A_GRPC_STORE", "memory:")  # programs of tests leave no files behind, unless a test is about it


LONG = (
    "tests/regressions/test_q01",
    "tests/crash",
    "tests/simulation",
    "tests/programs",
    "tests/replicas",
    "tests/interop",
)
"""Tests that take their time: they begin first, so that in the end no worker is left alone with them."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session", autouse=True)
def sockets_of_this_session() -> Iterator[None]:
    """Where the buses of programs meet: a folder of its own, short enough for a socket's name."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="a2a-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """After each test no asyncio task of this project is left."""
    yield

    def left() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("a2a-grpc")]

    for _ in range(1000):
        if not left():
            break
        await asyncio.sleep(0.01)
    assert left() == []


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The scripted agent on a server with defaults."""
    async with serving(scripted_agent()) as running:
        yield running
