"""The background tasks of an engine, with names and failures in the log."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger("a2a_grpc.engine")


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
