"""A handler that blocks the event loop is named in a warning; an honest one is not."""

import asyncio
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from a2a_grpc import Turn
from a2a_grpc.lifecycle import COMPLETED
from a2a_grpc.wire import Task
from tests.agent.agents import agent_of, follow_up
from tests.harness import eventually, request, serving

SETTINGS: dict[str, Any] = {"block_warning_s": 0.3}

named, let_go = threading.Event(), threading.Event()
"""Set when a warning names a handler that blocks the event loop, and when another one says that it no longer does."""


@pytest.fixture(autouse=True)
def names(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    def note(record: logging.LogRecord) -> bool:
        if "handler blocks the event loop" in record.getMessage():
            named.set()
        if "handler has let the event loop go" in record.getMessage():
            let_go.set()
        return True

    named.clear()
    let_go.clear()
    caplog.handler.addFilter(note)
    yield
    caplog.handler.removeFilter(note)


def block(turn: Turn) -> None:
    if turn.text == "block":
        assert named.wait(30)


def compute(turn: Turn) -> None:
    """Keep the interpreter to itself: a call of C code, in which no other thread can look."""
    if turn.text == "block":
        sum(range(40_000_000))


async def sleeps(turn: Turn) -> str:
    await asyncio.sleep(0)
    block(turn)
    return "done"


async def computes(turn: Turn) -> str:
    compute(turn)
    return "done"


async def yields(turn: Turn) -> AsyncIterator[str]:
    yield "half"
    block(turn)
    yield "done"


async def in_a_task_of_its_own(turn: Turn) -> str:
    async def child() -> None:
        block(turn)

    async with asyncio.TaskGroup() as group:
        group.create_task(child())
    return "done"


HANDLERS = [sleeps, computes, yields, in_a_task_of_its_own]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "event loop" in record.getMessage()]


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
async def test_a_handler_that_blocks_the_event_loop_is_named_and_its_neighbours_are_not(
    handler: Callable[[Turn], Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(agent_of(handler), **SETTINGS) as served:
        others = [served.send(request("honest")) for _ in range(3)]
        task, *_ = [got.task for got in await asyncio.gather(served.send(request("block")), *others)]
        assert task.status.state == COMPLETED
        await eventually(lambda: _is_told_twice(caplog))
    first, last = warnings(caplog)
    assert f"task={task.id} skill=work" in first
    assert re.search(r"handler blocks the event loop, .* seconds=\d+\.\d at=", first)
    assert "await turn.in_thread(...)" in first
    assert re.search(rf" at={re.escape(__file__)}:\d+ in (block|compute|child|{handler.__name__})$", first), first
    assert re.search(rf"handler has let the event loop go task={task.id} skill=work seconds=\d+\.\d$", last)


def _is_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    assert len(warnings(caplog)) == 2


async def test_the_end_of_a_block_is_logged_although_the_next_task_takes_long() -> None:
    async def handler(turn: Turn) -> str:
        async def first() -> None:
            assert named.wait(30)

        async def second() -> None:
            assert let_go.wait(30)

        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())
        return "done"

    async with serving(agent_of(handler), **SETTINGS) as served:
        assert (await served.send(request())).task.status.state == COMPLETED


async def test_a_skill_that_answers_with_a_message_is_named_too(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(agent_of(sleeps, answers="message"), **SETTINGS) as served:
        await served.send(request("block"))
        await eventually(lambda: _is_told_twice(caplog))
    assert "skill=work" in warnings(caplog)[0]


async def test_honest_handlers_are_not_named(caplog: pytest.LogCaptureFixture) -> None:
    """Waiting, blocking work in threads, many short steps, a question: none of them blocks for long."""

    async def handler(turn: Turn) -> str:
        if turn.text == "answer":
            return "done"
        await asyncio.sleep(0.4)
        await turn.in_thread(time.sleep, 0.4)
        end = time.monotonic() + 0.4
        while time.monotonic() < end:
            time.sleep(0.005)
            await asyncio.sleep(0)
        return await turn.ask("more?")

    async with serving(agent_of(handler), block_warning_s=1.0) as served:
        asked: list[Task] = [
            got.task for got in await asyncio.gather(*(served.send(request("honest")) for _ in range(5)))
        ]
        for task in asked:
            ended = (await served.send(follow_up(task, "answer"))).task
            assert ended.status.state == COMPLETED
    assert warnings(caplog) == []


async def test_the_warning_can_be_switched_off_and_costs_one_thread_for_all_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(agent_of(computes), block_warning_s=0.0) as served:
        await served.send(request("block"))
    assert warnings(caplog) == []

    def watching() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "a2a-grpc:watch"]

    async with serving(agent_of(sleeps), **SETTINGS) as served:
        await asyncio.gather(*(served.send(request()) for _ in range(10)))
        assert len(watching()) == 1

    def ended() -> None:
        assert watching() == []

    await eventually(ended)
