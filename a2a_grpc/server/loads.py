"""Load tasks for responses. Load large tasks only when there is room for them."""

import asyncio

from a2a_grpc.log import Log
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.store import Snapshot, TaskKey, TaskView

LARGE_TASK_BYTES = 64 * 1024
MAX_LARGE_LOADS = 1
"""The number of tasks that are loaded at the same time, if they are large or if their size is not known."""
KNOWN_SIZES = 4096
"""The number of views of tasks whose size is remembered."""


class Loads:
    """Loads tasks.

    Guarantees:

    - A large task is loaded when there is room for a response of its size. While responses are few, one more task whose
      size is not known may be loaded.
    """

    def __init__(self, log: Log, calls: Calls) -> None:
        self._log = log
        self._calls = calls
        self._turn = asyncio.Semaphore(MAX_LARGE_LOADS)
        self._sizes: dict[tuple[TaskKey, TaskView], int] = {}

    async def load(self, context: Context, key: TaskKey, view: TaskView) -> Snapshot:
        """Load a task for the response of a call. Raise TaskNotFoundError or ResourceExhaustedError."""
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
