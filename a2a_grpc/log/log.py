"""The log of each task: the store keeps the records, the bus wakes whoever follows them."""

from collections import deque
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from a2a_grpc.bus import LocalBus, Topic
from a2a_grpc.errors import TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import TERMINAL, fold
from a2a_grpc.store import Binding, Head, Record, Snapshot, TaskKey, TaskStore
from a2a_grpc.wire import Task

READ_BATCH = 256
"""Records a follower takes from the store at a time: what a reader that lags holds in memory."""


class Log:
    """Appends records, then tells the followers.

    Guarantees:

    - A record is in the store before any follower sees it.
    - A snapshot with the records after its seq is the fold of the whole log.
    """

    def __init__(self, store: TaskStore, bus: LocalBus) -> None:
        self.store = store
        self.bus = bus
        self.is_closing = False

    async def append(
        self, key: TaskKey, record: Record, *, epoch: int, bind: tuple[str, Binding] | None = None
    ) -> None:
        """Raises StaleAppend or AlreadyBound, like the store."""
        await self.store.append(key, record, epoch=epoch, bind=bind)
        self.bus.wake(key)

    def close(self) -> None:
        """Lets every follower catch up with what is in its log, then ends it with UnavailableError."""
        self.is_closing = True
        self.bus.wake_all()

    async def head(self, key: TaskKey) -> Head:
        """Raises TaskNotFoundError."""
        head = await self.store.head(key)
        if head is None:
            raise TaskNotFoundError.of(key.id)
        return head

    async def snapshot(self, key: TaskKey) -> Snapshot:
        """The task as it is now, with its seq. Raises TaskNotFoundError."""
        snapshot = await self.store.load(key)
        if snapshot is None:
            raise TaskNotFoundError.of(key.id)
        return snapshot

    async def snapshot_at(self, key: TaskKey, since: Snapshot, seq: int) -> Snapshot:
        """The task as it was at a seq, not before `since`'s. Costs no fold where nothing has come after."""
        latest = await self.snapshot(key)
        if latest.seq == seq:
            return latest
        records = await self.store.read(key, since.seq, seq - since.seq)
        if not records:
            raise TaskNotFoundError.of(key.id)
        task = fold(Task.FromString(since.task), (record.unpack() for record in records))
        return Snapshot(seq, task.SerializeToString(), records[-1].state, records[-1].turn)

    def follow(self, key: TaskKey, after: int) -> "Follower":
        """The records after a seq, those that are there and those to come, until the task has ended."""
        return Follower(self, key, after)


class Follower:
    """Iterates the records of one task; a context manager, so that leaving it is prompt.

    Guarantees: records in seq order, no gaps, no repeats, the first is `after + 1`; the iteration ends after a terminal
    record and only then. It holds one batch of records, however far behind it is. Raises TaskNotFoundError if the task
    does not exist or is purged meanwhile, UnavailableError once it has caught up with a log that is closed.
    """

    __slots__ = ("_batch", "_key", "_listening", "_log", "_seq", "_topic")

    def __init__(self, log: Log, key: TaskKey, after: int) -> None:
        self._log = log
        self._key = key
        self._seq = after
        self._batch: deque[Record] = deque()
        self._listening: AbstractContextManager[Topic] = log.bus.listen(key)
        self._topic: Topic

    async def __aenter__(self) -> Self:
        self._topic = self._listening.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.__exit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        while not self._batch:
            seen = self._topic.wakes
            records = await self._log.store.read(self._key, self._seq, READ_BATCH)
            if records is None:
                raise TaskNotFoundError.of(self._key.id)
            if records:
                self._batch.extend(records)
                self._seq = records[-1].seq
            elif (head := await self._log.head(self._key)).state in TERMINAL and head.seq == self._seq:
                raise StopAsyncIteration
            elif self._log.is_closing:
                raise UnavailableError.shutting_down("resume at another")
            else:
                await self._topic.wait(seen)
        return self._batch.popleft()
