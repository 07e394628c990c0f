"""Load tasks for responses, with the parts that a call asks for. Load large tasks only when there is room for them."""

import asyncio
from typing import Any

from a2a_grpc.log import Log
from a2a_grpc.offload import offload
from a2a_grpc.protocol import LEFT_OUT
from a2a_grpc.rpc import Calls, Context
from a2a_grpc.server.admission import Call
from a2a_grpc.store import CORE, Head, Snapshot, TaskKey, TaskView
from a2a_grpc.store.views import cut
from a2a_grpc.wire import Task

LARGE_TASK_BYTES = 64 * 1024
MAX_LARGE_LOADS = 1
"""The number of tasks that are loaded at the same time, if they are large or if their size is not known."""
KNOWN_SIZES = 4096
"""The number of views of tasks whose size is remembered."""
CANCELED_BYTES = 4 * 1024 * 1024
"""The largest message that gRPC's clients read by default. An answer to CancelTask is not larger, if possible."""


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

    async def load_canceled(self, key: TaskKey, ended: Head | Snapshot, view: TaskView, room: int) -> tuple[bytes, str]:
        """Return a task that has ended in at most `room` bytes, and the names of the parts that are left out for this.

        The metadata of the task names these parts, too.
        """
        task, left_out = await self._fitting(key, ended, view, room)
        if left_out:
            noted = Task()
            noted.metadata.fields[LEFT_OUT].string_value = left_out
            task += noted.SerializeToString()  # the fields of a message may come one after the other
        return task, left_out

    async def _fitting(self, key: TaskKey, ended: Head | Snapshot, view: TaskView, room: int) -> tuple[bytes, str]:
        if isinstance(ended, Snapshot):
            if len(ended.task) <= room:
                return await seen(ended, view), ""
        elif view.artifacts and ended.size <= room:
            return (await self._log.snapshot(key, view)).task, ""
        lean = await self._log.snapshot(key, view._replace(artifacts=False))
        if len(lean.task) <= room:
            return lean.task, "artifacts" if view.artifacts else ""
        return (await self._log.snapshot(key, CORE)).task, "artifacts, history" if view.artifacts else "history"


async def seen(snapshot: Snapshot, view: TaskView) -> bytes:
    """Return the parts of a serialised task that a view names."""
    return await offload(len(snapshot.task), cut, snapshot.task, view)


def view_of(call: Call, request: Any) -> TaskView:
    """Return the parts of a task that a call asks for (HIST-1 to HIST-3). Without a length it has all history."""
    has_length = "history_length" in request.DESCRIPTOR.fields_by_name and request.HasField("history_length")
    return TaskView(call.metadata.artifacts, request.history_length if has_length else None)
