"""Load tasks for responses, large ones only when there is room for them."""

import asyncio

from a2a_grpc.log import Log
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.store import Snapshot, TaskKey, TaskView

LARGE_TASK_BYTES = 64 * 1024
MAX_LARGE_LOADS = 1
"""Tasks that are loaded at a time, if they are large or if their size is not known."""
KNOWN_SIZES = 4096
"""Views of tasks whose size is remembered."""


class Loads:
    """Loads tasks.

    Guarantee: a large task is loaded once there is room for a response of its size; one more, whose size is not known,
    may be loaded while responses are few.
    """

    def __init__(self, log: Log, calls: Calls) -> None:
        self._log = log
        self._calls = calls
        self._turn = asyncio.Semaphore(MAX_LARGE_LOADS)
        self._sizes: dict[tuple[TaskKey, TaskView], int] = {}

    async def load(self, context: Context, key: TaskKey, view: TaskView) -> Snapshot:
        """Load a task for the response of a call. Raises TaskNotFoundError, ResourceExhaustedError."""
        size = self._sizes.get((key, view))
        if size is None and (self._turn.locked() or self._calls.is_tight):
            size = (await self._log.head(key)).size
        if size is not None and size < LARGE_TASK_BYTES:
            snapshot = await self._log.snapshot(key, view)
        else:
            if size is not None:
                await self._calls.room_for(context, size)
            async with self._turn:
                snapshot = await self._log.snapshot(key, view)
        self._sizes[key, view] = len(snapshot.task)
        if len(self._sizes) > KNOWN_SIZES:
            del self._sizes[next(iter(self._sizes))]
        return snapshot
