"""Writes that take a while, as futures: those of one task happen one after the other."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from a2a_grpc.store.values import StoreUnavailable, TaskKey
from a2a_grpc.store.writes import Append, Create
from a2a_grpc.store.written import Writing, Written

Queue: TypeAlias = deque[tuple[Create | Append, Writing]]


class InOrder:
    """Makes a `TaskStore.write` of a coroutine function that writes.

    Guarantees: the writes of one task run in the order of the calls, one at a time; the writes of different tasks run
    at the same time. No caller can cancel a write.

    Args:
        perform: A coroutine function that performs one write. It returns what the future gives, or raises its error.
    """

    def __init__(self, perform: Callable[[Create | Append], Awaitable[int]]) -> None:
        self._perform = perform
        self._waiting: dict[TaskKey, Queue] = {}
        self._workers: set[asyncio.Task[None]] = set()

    def write(self, write: Create | Append) -> Written:
        """Begin a write. Return its future.

        Args:
            write: The write.
        """
        written = Writing()
        if (queue := self._waiting.get(write.key)) is not None:
            queue.append((write, written))
            return written
        self._waiting[write.key] = queue = deque([(write, written)])
        worker = asyncio.create_task(self._work(write.key, queue), name=f"a2a-grpc:write:{write.key.id}")
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)
        return written

    async def finish(self) -> None:
        """Return when all writes are over. A store calls this before it closes its connections."""
        while self._workers:
            await asyncio.wait(self._workers)

    async def _work(self, key: TaskKey, queue: Queue) -> None:
        try:
            while queue:
                write, written = queue[0]
                try:
                    written.set_result(await self._perform(write))
                except Exception as error:
                    written.set_exception(error)
                queue.popleft()
        finally:  # writes are left only if this task was canceled
            del self._waiting[key]
            for _, written in queue:
                written.set_exception(StoreUnavailable("the store is closed"))
