"""A clock that moves the time of an event loop, so that time limits pass without waiting."""

import asyncio
import heapq
import math
import time
from collections.abc import Awaitable, Callable
from itertools import count
from types import TracebackType
from typing import Any, Self

from a2a_grpc.arguments import checked

ROUNDS = 20
"""Rounds of the event loop after each timer, in which what follows from the timer can happen."""
MOST_STEPS = 10_000
"""The most steps of one `advance`. A server has timers that are due every second."""

Settle = Callable[[], Awaitable[None]]
"""A function that returns when what was sent has arrived."""


@checked()
class Clock:
    """The time of the running event loop, which `advance` moves. It goes on by itself, too, as always.

    All waits in the event loop follow, such as `asyncio.sleep` and `asyncio.timeout` of handlers and of the test. So do
    the age of tasks in the memory store, and the limits of the server that docs/testing.md lists. Use the clock as a
    context manager, or give it to `running`, which does that.

    Guarantees:

    - `advance` runs timers in their order, each at its time or a ten-thousandth of `seconds` later. So a handler that
      sleeps ten times for 60 s needs 600 s.
    - Work that waits for a thread, for another process or for a database gets no time while the clock moves.
    - After the block, the event loop has its own time again. A timer that was begun in the block and is still pending
      keeps the moved time: it comes later, by as much as the clock was moved.
    - An event loop has one clock at a time.

    Example:
        clock = Clock()
        async with running(agent, clock=clock) as client:
            task = await client.start("slow work")
            await clock.advance(3600)
            assert_state(await client.get(task.id), "COMPLETED")
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._users = 0
        self._offset_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self._settles: list[Settle] = []

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError("the clock is in use in another event loop; make a clock for each test")
        if self._users == 0:
            self._begin(loop)
        self._users += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if self._users == 0 and self._loop is not None:
            for name in ("time", "call_at"):
                delattr(self._loop, name)  # the class has both methods
            self._loop, self._offset_s, self._timers = None, 0.0, []

    def time(self) -> float:
        """Return the time of the event loop, in seconds. Only differences have a meaning."""
        return time.monotonic() + self._offset_s

    async def advance(self, seconds: float) -> None:
        """Move the time by so many seconds. Return when everything that was due in the event loop has happened.

        Messages that were sent before have arrived at the servers of `running`, and what these send has arrived when
        the function returns.

        Args:
            seconds: The time to move by.

        Raises:
            ValueError: `seconds` is negative, or not finite.
            RuntimeError: The clock is not in use.
        """
        if not 0 <= seconds < math.inf:
            raise ValueError(f"seconds is {seconds}; it must be 0 or more, and finite")
        if self._loop is None:
            raise RuntimeError("the clock is not in use; give it to 'running', or use 'with clock:'")
        await self._settle()
        at, step_s = self.time(), seconds / MOST_STEPS
        end = at + seconds
        while (due := self._next_due()) is not None and (at := max(due, at + step_s)) < end:
            await self._move_to(at)
        await self._move_to(end)
        await self._settle()

    def settles_with(self, settle: Settle) -> Callable[[], None]:
        """Have `advance` await a function before and after it moves the time. Return a function that ends this.

        Args:
            settle: A function that returns when what was sent has arrived.
        """
        self._settles.append(settle)
        return lambda: self._settles.remove(settle)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give the event loop this time, and take note of the timers that it gets from now on."""
        if "time" in getattr(loop, "__dict__", {}):
            raise RuntimeError("another clock moves the time of this event loop; give one clock to each 'running'")
        call_at = loop.call_at

        def noting(when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
            handle = call_at(when, *arguments, **options)
            self._forget_past()
            heapq.heappush(self._timers, (when, next(self._numbers), handle))
            return handle

        try:
            loop.time, loop.call_at = self.time, noting  # type: ignore[method-assign, assignment]
        except AttributeError:
            raise RuntimeError(
                f"the time of an event loop of type {type(loop).__module__}.{type(loop).__name__} cannot be moved; "
                "run the test on an event loop of asyncio"
            ) from None
        self._loop = loop

    def _next_due(self) -> float | None:
        """Return the time of the next timer that is not due yet; None if there is none."""
        self._forget_past()
        return self._timers[0][0] if self._timers else None

    def _forget_past(self) -> None:
        now = self.time()
        while self._timers and (self._timers[0][0] <= now or self._timers[0][2].cancelled()):
            heapq.heappop(self._timers)

    async def _move_to(self, when: float) -> None:
        self._offset_s = max(self._offset_s, when - time.monotonic())
        for _ in range(ROUNDS):
            await asyncio.sleep(0)

    async def _settle(self) -> None:
        for settle in list(self._settles):
            await settle()
        for _ in range(ROUNDS):
            await asyncio.sleep(0)
