"""Reads other tasks of a turn's caller for the turn's handler."""

import asyncio
from collections.abc import Sequence

from a2a_grpc.log import Log
from a2a_grpc.offload import offload
from a2a_grpc.piecewise import parsed
from a2a_grpc.store import CORE, ListFilter, Scope, TaskKey, TaskView
from a2a_grpc.wire import Task


class Past:
    """Guarantees:

    - A task of another scope is an unknown one.
    - Only the parts that a view names are read, and of no more tasks than are returned.
    - The tasks have no more than `max_bytes` together, as their records count. The first one is returned in any
      size. Those that come after it are left out if there is no room.
    """

    def __init__(self, log: Log, max_bytes: int) -> None:
        self._store = log.store
        self._max_bytes = max_bytes

    async def of_context(
        self, scope: Scope, context_id: str, limit: int, view: TaskView, *, without: str = ""
    ) -> list[Task]:
        """Return at most `limit` tasks of a context, the newest status first. Raise StoreUnavailable."""
        where = ListFilter(context_id=context_id)
        page = await self._store.list(scope, where, None, limit + 1, view=CORE, max_bytes=self._max_bytes)
        ids = [listed.position.id for listed in page.tasks if listed.position.id != without]
        return await self.named(scope, ids[:limit], view)

    async def named(self, scope: Scope, ids: Sequence[str], view: TaskView) -> list[Task]:
        """Return the tasks with these ids, in their order; unknown ids are left out. Raise StoreUnavailable."""
        keys = [TaskKey(*scope, id) for id in dict.fromkeys(ids)]
        heads = await asyncio.gather(*map(self._store.head, keys))
        room, chosen = self._max_bytes, list[TaskKey]()
        for key, head in zip(keys, heads, strict=True):
            if head is None:
                continue
            room -= head.size
            if room < 0 and chosen:
                break
            chosen.append(key)
        found = await asyncio.gather(*(self._store.load(key, view) for key in chosen))
        return [
            await offload(len(snapshot.task), parsed, Task(), snapshot.task)
            for snapshot in found
            if snapshot is not None  # otherwise it was purged a moment ago
        ]
