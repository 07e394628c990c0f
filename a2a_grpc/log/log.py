"""The log of each task. The store keeps the records, and the bus wakes the followers."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from a2a_grpc.bus import Bus
from a2a_grpc.errors import TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.log.reading import Reader, Source
from a2a_grpc.log.tail import Tail
from a2a_grpc.store import (
    WHOLE,
    Append,
    Create,
    Head,
    Record,
    Snapshot,
    TaskKey,
    TaskStore,
    TaskView,
    Written,
)
from a2a_grpc.wire import StreamResponse, TaskState


class Log:
    """Appends records to the logs of tasks, and then wakes their followers.

    Guarantees:

    - A record is in the store before any follower sees it.
    - A snapshot with the records after its seq is the fold of the whole log.
    """

    def __init__(self, store: TaskStore, bus: Bus) -> None:
        self.store = store
        self.bus = bus
        self.is_closing = False
        self.appended = 0
        """The number of records that were given to the store."""
        self._tails: dict[TaskKey, Tail] = {}

    def write(self, write: Create | Append, event: StreamResponse | None = None) -> Written:
        """Begin to create a task or to append a record. Wake the followers of the task when a record is appended.

        The writes of one task happen in the order of the calls.

        Args:
            write: The task to create, or the record to append.
            event: The parsed event of the record. It must not change any more.

        Returns:
            The future of the store, with the outcome of the write.
        """
        written = self.store.write(write)
        self.appended += 1
        if isinstance(write, Create):
            return written  # others do not know the task yet
        if written.done():
            self._note(write, event, written)
            return written
        if (tail := self._tails.get(write.key)) is not None:
            tail.begun_seq = write.record.seq
        if tail is None or not tail.wants_events:
            event = None  # it needs no memory while the record is on its way
        written.add_done_callback(partial(self._note, write, event))
        return written

    def _note(self, append: Append, event: StreamResponse | None, written: Written) -> None:
        """Give the record of an append that is over to the followers."""
        key, record, _, _, _, _, _ = append
        tail = self._tails.get(key)
        if written.exception() is None:
            if tail is not None:
                tail.push(record, event)
            self.bus.wake(key)
        elif tail is not None:
            tail.begun_seq = 0
            tail.topic.invalidate()  # another process has written, or the record may be in the store

    @property
    def followers(self) -> tuple[int, int]:
        """The number of followers that have taken all records, and the number of those that are behind."""
        counts = [tail.counts for tail in tuple(self._tails.values())]
        return sum(current for current, _ in counts), sum(behind for _, behind in counts)

    async def poll(self) -> None:
        """Compare the logs that are followed here with the store, because a wake of another process may be lost."""
        keys = list(self._tails)
        for key, seq in zip(keys, await self.store.seqs(keys) if keys else (), strict=True):
            self._compare(key, seq)

    def _compare(self, key: TaskKey, seq: int) -> None:
        """Have followers read the store if it has newer records, or the task is gone."""
        if (tail := self._tails.get(key)) is None:
            return
        if seq > max(tail.seq, tail.begun_seq) or (not seq and tail.seq > 1):  # 1 may be about to be created
            tail.topic.invalidate()

    def close(self) -> None:
        """End each follower with UnavailableError when it has taken all records of its log."""
        self.is_closing = True
        self.bus.wake_all()

    async def head(self, key: TaskKey) -> Head:
        """Return the row of a task. Raise TaskNotFoundError if there is none."""
        head = await self.store.head(key)
        if head is None:
            raise TaskNotFoundError.of(key.id)
        self._compare(key, head.seq)
        return head

    async def snapshot(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot:
        """Return the parts of a task that `view` names, as of its newest record. Raise TaskNotFoundError if there is no
        such task."""
        snapshot = await self.store.load(key, view)
        if snapshot is None:
            raise TaskNotFoundError.of(key.id)
        return snapshot

    def follow(
        self, key: TaskKey, after: int, state: TaskState | None = None, *, is_new: bool = False, folds: bool = False
    ) -> "Follower":
        """Return a follower of the records after a seq. It ends when the task has ended.

        Args:
            key: The name of the task.
            after: The seq before the first record.
            state: The state of the task at that seq, if it is known.
            is_new: True if the task is about to be created here.
            folds: True to get records in large batches, when the task is settled or many records have come.
        """
        return Follower(self, key, after, state, is_new=is_new, folds=folds)

    def tail(self, key: TaskKey, after: int, state: TaskState | None, *, is_new: bool) -> Tail:
        """Return the tail of a task, for a follower that joins it after a seq."""
        tail = self._tails.get(key)
        if tail is None:
            listening = self.bus.listen(key)
            tail = Tail(key, self.store, listening, self._tails, after, state, is_new=is_new)
        return tail


class Follower(Reader):
    """Reads the records of one task, in a `with` block. Leaving the block ends it at once.

    Guarantees:

    - The records come in the order of their seqs, without gaps and repeats. The first one is `after + 1`.
    - The iteration ends after a record that ends the task, and only then.
    - It holds one batch of records, even if it is far behind.

    Raises:
        TaskNotFoundError: The task does not exist, or was deleted meanwhile.
        UnavailableError: The log is closed, and all its records were taken.
    """

    __slots__ = ("_batch", "_is_new", "_key", "_log", "_seq", "_source", "_state", "_tail")

    def __init__(
        self, log: Log, key: TaskKey, after: int, state: TaskState | None, *, is_new: bool, folds: bool
    ) -> None:
        super().__init__(folds=folds)
        self._log = log
        self._key = key
        self._seq = after
        self._state = state
        """The state of the task at `_seq`; None until it is known."""
        self._is_new = is_new
        self._tail: Tail | None = None
        self._source: Source | None = None
        """Reads the store while the follower is behind the tail."""
        self._batch: deque[Record] | None = None

    def __enter__(self) -> Self:
        """Join the other followers of the task, unless this one has joined already."""
        if self._tail is None:
            tail = self._log.tail(self._key, self._seq, self._state, is_new=self._is_new)
            tail.join(self, self._seq, self._state)
            self._tail = tail
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tail is not None:
            self._tail.leave(self)
            self._tail = None

    def events(self, batch: Sequence[Record]) -> list[StreamResponse | None]:
        """Return the parsed events of the newest batch. An event is None if it is not known."""
        known = self._tail.events if self._tail is not None else {}
        return [known.get(record.seq) for record in batch] if known else [None] * len(batch)

    @property
    def is_joined(self) -> bool:
        """True between `__enter__` and `__exit__`."""
        return self._tail is not None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        if not self._batch:
            self._batch = deque(await self.batch())
            if not self._batch:
                raise StopAsyncIteration
        return self._batch.popleft()

    async def batch(self) -> Sequence[Record]:
        """Return the next records. Wait until there are any. Return no records if the task has ended.

        Use either this method or the iteration, but not both.
        """
        tail = self._tail
        assert tail is not None, "a follower is used in a `with` block"
        while self._state not in TERMINAL:
            seen = tail.topic.wakes
            records = tail.after(self._seq)
            if records is None:
                self._source = self._source or tail.source()
                records, _ = await self._source.read(self._seq)
                tail.adopt(records)
                if not records:
                    continue  # the tail has records after them, so they can only have been deleted
            elif not records:
                tail.note_taken(self)
                if not tail.is_current:
                    await tail.refresh()
                elif tail.state in TERMINAL:
                    self._state = tail.state
                elif self._log.is_closing:
                    raise UnavailableError.shutting_down("resume at another")
                elif self.folds:
                    await tail.topic.wait_patiently()
                else:
                    await tail.topic.wait(seen)
                continue
            elif self.folds and tail.is_growing(self._seq) and not self._log.is_closing:
                await tail.topic.wait_patiently()
                continue
            self._seq, self._state = records[-1].seq, records[-1].state
            return records
        return ()
