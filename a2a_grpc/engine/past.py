"""Read other tasks of a turn's caller for the turn's handler."""

import asyncio
from collections.abc import Sequence

from a2a_grpc.offload import offload
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import CORE, ListFilter, Scope, TaskKey, TaskStore, TaskView
from a2a_grpc.wire import Task


class Past:
    """The part of a backend that reads other tasks.

    Guarantees:

    - A task of another scope is an unknown one.
    - Only the parts that are asked for are read, and of no more tasks than are returned.
    - The tasks have no more than `max_bytes` together, as their records count. The first one is returned in any
      size. Those that come after it are left out if there is no room.
    """

    def __init__(self, store: TaskStore, max_bytes: int, scope: Scope, context_id: str, task_id: str = "") -> None:
        """Take the scope of the caller, the context of the turn, and the task of the turn if it has one."""
        self._store = store
        self._max_bytes = max_bytes
        self._scope = scope
        self._context_id = context_id
        self._task_id = task_id

    async def context(self, limit: int, artifacts: bool, history_length: int | None) -> list[Task]:
        """Return at most `limit` other tasks of the context, the newest status first. Raise StoreUnavailable."""
        where = ListFilter(context_id=self._context_id)
        page = await self._store.list(self._scope, where, None, limit + 1, view=CORE, max_bytes=self._max_bytes)
        ids = [listed.position.id for listed in page.tasks if listed.position.id != self._task_id]
        return await self.tasks(ids[:limit], artifacts, history_length)

    async def tasks(self, ids: Sequence[str], artifacts: bool, history_length: int | None) -> list[Task]:
        """Return the tasks with these ids, in their order; unknown ids are left out. Raise StoreUnavailable."""
        keys = [TaskKey(*self._scope, id) for id in dict.fromkeys(ids)]
        heads = await asyncio.gather(*map(self._store.head, keys))
        room, chosen = self._max_bytes, list[TaskKey]()
        for key, head in zip(keys, heads, strict=True):
            if head is None:
                continue
            room -= head.size
            if room < 0 and chosen:
                break
            chosen.append(key)
        view = TaskView(artifacts, history_length)
        found = await asyncio.gather(*(self._store.load(key, view) for key in chosen))
        return [
            await offload(len(snapshot.task), parsed, Task(), snapshot.task)
            for snapshot in found
            if snapshot is not None  # otherwise it was purged a moment ago
        ]
