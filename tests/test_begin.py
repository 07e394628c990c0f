"""Tasks that begin at once, where Python can."""

import asyncio
import sys

import pytest

from a2a_grpc.engine.begin import begin

AT_ONCE = sys.version_info >= (3, 12)


async def test_what_never_waits_is_over_at_once() -> None:
    async def answer() -> int:
        return 42

    begun = begin(answer(), "the answer")
    assert (begun.done(), begun.get_name()) == (AT_ONCE, "the answer")
    assert await begun == 42


async def test_its_first_steps_are_taken_in_a_task_of_its_own() -> None:
    seen: list[object] = []

    async def work() -> None:
        async with asyncio.timeout(0.01):  # which remembers the task that it is in
            seen.append(asyncio.current_task())
            await asyncio.Event().wait()

    begun = begin(work(), "work")
    assert len(seen) == AT_ONCE
    with pytest.raises(TimeoutError):
        await begun
    assert seen == [begun]


async def test_it_is_canceled_without_whoever_began_it() -> None:
    begun = begin(asyncio.Event().wait(), "waits for ever")
    begun.cancel()
    with pytest.raises(asyncio.CancelledError):
        await begun


async def test_what_it_raises_is_its_own() -> None:
    async def fail() -> None:
        raise ValueError("no")

    begun = begin(fail(), "fails")
    with pytest.raises(ValueError, match="no"):
        await begun


async def test_the_loops_task_factory_makes_it() -> None:
    made: list[object] = []

    def factory(loop, work, **named):  # type: ignore[no-untyped-def]
        made.append(work)
        return asyncio.Task(work, loop=loop, **named)

    async def answer() -> int:
        return 42

    loop, work = asyncio.get_running_loop(), answer()
    loop.set_task_factory(factory)
    try:
        begun = begin(work, "the answer")
    finally:
        loop.set_task_factory(None)
    assert (made, begun.done(), await begun) == ([work], False, 42)
