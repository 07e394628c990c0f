"""Late work of peers is ended. Time in which the event loop was held up does not count."""

import asyncio
import time

import pytest

from a2a_grpc.deadlines import LATE_S, Deadlines, RunningClock, time_limit
from tests.harness import eventually

LOOK_S = 0.02


def hold_up(seconds: float) -> None:
    """Do what a process does that is stopped: the event loop runs no callback meanwhile."""
    time.sleep(seconds)


async def rounds(count: int) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_late_is_ended_once_and_what_is_removed_is_not() -> None:
    ended = list[str]()
    deadlines: Deadlines[str] = Deadlines(ended.append, look_s=LOOK_S)
    deadlines.add("late", 0.05)
    deadlines.add("removed", 0.05)
    deadlines.add("in time", 60.0)
    deadlines.remove("removed")
    deadlines.remove("unknown")
    async with asyncio.timeout(20):
        while not ended:
            await asyncio.sleep(LOOK_S)
    assert ended == ["late"]
    assert "late" not in deadlines
    assert "in time" in deadlines
    deadlines.close()


async def test_what_is_added_again_gets_its_time_again() -> None:
    ended = list[str]()
    deadlines: Deadlines[str] = Deadlines(ended.append, look_s=LOOK_S)
    deadlines.add("again", 0.01)
    deadlines.add("again", 60.0)
    deadlines.add("other", 0.05)
    async with asyncio.timeout(20):
        while not ended:
            await asyncio.sleep(LOOK_S)
    assert ended == ["other"]
    deadlines.close()


async def test_nothing_is_late_because_the_event_loop_was_held_up() -> None:
    ended = list[str]()
    deadlines: Deadlines[str] = Deadlines(ended.append, look_s=LOOK_S)
    deadlines.add("slow", 0.3)
    hold_up(0.7)
    await rounds(20)  # the look that was due has been
    assert ended == []
    await eventually(lambda: _check(ended == ["slow"]))  # the event loop runs again, and nothing has come


async def test_an_event_loop_that_is_held_up_again_and_again_ends_what_is_late_all_the_same() -> None:
    ended = list[str]()
    deadlines: Deadlines[str] = Deadlines(ended.append, look_s=LOOK_S)
    deadlines.add("slow", 5 * LOOK_S)
    for _ in range(10):
        hold_up(LOOK_S + 1.5 * LATE_S)
        await rounds(20)
    assert ended == ["slow"]


async def test_there_is_no_timer_while_there_is_nothing_to_look_after() -> None:
    deadlines: Deadlines[str] = Deadlines(lambda _: None, look_s=LOOK_S)
    deadlines.add("short", 60.0)
    deadlines.remove("short")
    async with asyncio.timeout(20):
        while deadlines._timer is not None:
            await asyncio.sleep(LOOK_S)
    deadlines.add("next", 60.0)
    assert deadlines._timer is not None
    deadlines.close()


async def test_the_clock_counts_no_more_than_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    with monkeypatch.context() as patched:
        patched.setattr(asyncio.get_running_loop(), "time", lambda: now)
        clock = RunningClock()
        clock.look(0.05)
        begun = clock.time()
        now += 0.3
        assert clock.time() - begun == pytest.approx(0.05)
        clock.look(0.05)
        assert clock.time() == pytest.approx(begun)  # what came meanwhile has yet to be read


async def test_a_block_over_its_limit_raises_and_one_in_time_does_not() -> None:
    async with time_limit(60.0):
        await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        async with time_limit(0.05):
            await asyncio.Event().wait()
    with pytest.raises(asyncio.CancelledError):
        async with time_limit(60.0):
            raise asyncio.CancelledError
    await asyncio.sleep(0.1)  # nothing of the limits is left to cancel this task


async def test_a_block_whose_event_loop_was_held_up_gets_the_rest_of_its_time() -> None:
    arrived = asyncio.Event()
    async with time_limit(0.4):
        hold_up(0.8)
        asyncio.get_running_loop().call_later(0.1, arrived.set)  # read only once the event loop runs again
        await arrived.wait()


def _check(is_true: bool) -> None:
    assert is_true
