"""Run the background tasks of an engine: tasks that end by themselves, and loops. Log their failures by their names."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from a2a_grpc.bus import Topic
from a2a_grpc.store import StoreUnavailable
from a2a_grpc.throttle import Throttle

logger = logging.getLogger("a2a_grpc.engine")

AFTER_FAILURE_S = 0.2
"""The least time between a round that failed and the next one."""
LINES_EVERY_S = 10.0
"""Time between two log lines about rounds that fail in the same way."""


class Background:
    """Owns background tasks until they end, so that `end` leaves none behind."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        """All that have not ended. A task that adds and discards itself costs no callback."""

    def __len__(self) -> int:
        """Return the number of tasks that have not ended."""
        return len(self.tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> "asyncio.Task[Any]":
        """Start a background task with a name. A failure is logged."""
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def end(self, within_s: float) -> None:
        """Cancel all tasks, and wait for their ends at most for that time."""
        leftover = list(self.tasks)
        for task in leftover:
            task.cancel()
        if leftover:
            await asyncio.wait(leftover, timeout=within_s)

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("background task failed name=%s", task.get_name(), exc_info=error)


class PeriodicTasks(Background):
    """Loops that go on if one of their rounds fails.

    Guarantees:

    - After a round that fails, the next one comes.
    - Failures are logged, those of one kind once in ten seconds.
    - A loop that ends before `stop` makes `is_healthy` False, and is logged as an error.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines = Throttle(logger, LINES_EVERY_S)
        self._loops = 0
        """How many loops have begun; 0 once they are stopped."""

    @property
    def is_healthy(self) -> bool:
        """True while every loop runs."""
        return 0 < self._loops == len(self.tasks)

    def every(
        self,
        interval_s: float,
        name: str,
        round_: Callable[[], Awaitable[None]],
        topic: Topic | None = None,
        *,
        first_after_s: float = 0.0,
    ) -> None:
        """Begin a loop with a round at every interval, and each time that `topic` is woken."""

        async def repeat() -> None:
            await asyncio.sleep(first_after_s)
            while True:
                seen = topic.wakes if topic else 0
                try:
                    await round_()
                except StoreUnavailable as error:
                    self._lines.warning("store", "the store does not answer loop=%s error=%s", name, error)
                    await asyncio.sleep(AFTER_FAILURE_S)
                except Exception as error:
                    kind = f"{name} {type(error).__name__}"
                    self._lines.error(kind, "a background loop failed once and continues loop=%s", name, exc_info=error)
                    await asyncio.sleep(AFTER_FAILURE_S)
                if topic is None:
                    await asyncio.sleep(interval_s)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval_s):
                        await topic.wait(seen)

        self.spawn(repeat(), f"a2a-grpc:{name}")
        self._loops += 1

    async def stop(self, within_s: float = 1.0) -> None:
        """End all loops. A loop that waits for the store may end after `within_s`, when the store has answered."""
        self._loops = 0
        await self.end(within_s)
        self._lines.close()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if self._loops:
            logger.error("background loop ended name=%s", task.get_name(), exc_info=error)
