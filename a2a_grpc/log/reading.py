"""Read records from the store, as few times as possible."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from a2a_grpc.errors import TaskNotFoundError
from a2a_grpc.store import Record, TaskKey, TaskStore
from a2a_grpc.uncancelled import look_at_error

READ_BATCH = 256
"""The largest number of records that a follower takes at a time."""
FIRST_BATCH = 16
"""The number of records that are read from the store while their sizes are unknown."""
BATCH_BYTES = 1 << 20
"""The size of the records that are read from the store at a time, according to the sizes seen last."""


class Reader:
    """A follower, as the tail of its task knows it.

    Attributes:
        folds: True if the follower waits until the task settles.
        reached: The seq of the tail when the follower last had all its records.
    """

    __slots__ = ("folds", "reached")

    def __init__(self, *, folds: bool) -> None:
        self.folds = folds
        self.reached = -1


class Source:
    """The records of a task in the store. Reads as many of them at a time as their sizes allow."""

    __slots__ = ("_key", "_limit", "_store")

    def __init__(self, store: TaskStore, key: TaskKey) -> None:
        self._store = store
        self._key = key
        self._limit = FIRST_BATCH

    async def read(self, after: int) -> tuple[Sequence[Record], bool]:
        """Return the next records after a seq, and True if the store may have more of them.

        Raises:
            TaskNotFoundError: The task was deleted.
            StoreUnavailable: The store does not answer.
        """
        records = await self._store.read(self._key, after, self._limit)
        if records is None:
            raise TaskNotFoundError.of(self._key.id)
        if len(records) < self._limit:
            return records, False
        self._limit = min(READ_BATCH, max(1, BATCH_BYTES // max(record.size for record in records)))
        return records, True


class Shared:
    """A call that callers who come while it is running share."""

    __slots__ = ("_running",)

    def __init__(self) -> None:
        self._running: asyncio.Future[None] | None = None

    async def run(self, call: Callable[[], Awaitable[None]]) -> None:
        """Make the call, or wait for the one that is running. Raise what it raises."""
        while (running := self._running) is not None:
            await asyncio.wait([running])  # the caller that runs it may leave, and another one run it
            if not running.cancelled():
                return running.result()
        running = self._running = asyncio.get_running_loop().create_future()
        try:
            await call()
        except Exception as error:
            running.set_exception(error)
            look_at_error(running)
            raise
        else:
            running.set_result(None)
        finally:
            self._running = None
            running.cancel()
