"""Fixtures of all tests, with the check that each test leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.harness import Served, scripted_agent, serving


@pytest.fixture(autouse=True)
async def nothing_left_behind() -> AsyncIterator[None]:
    """After each test no asyncio task of this project is left."""
    yield

    def left() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("a2a-grpc")]

    for _ in range(200):
        if not left():
            break
        await asyncio.sleep(0.01)
    assert left() == []


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The scripted agent on a server with defaults."""
    async with serving(scripted_agent()) as running:
        yield running
