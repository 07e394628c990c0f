"""The log of each task: the store keeps the records, the bus wakes whoever follows them."""

from collections import deque
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Self

from a2a_grpc.bus import Bus
from a2a_grpc.errors import TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import TERMINAL
from a2a_grpc.log.reading import Source
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
    """Appends records, then tells the followers.

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
        """Begin to create a task or to append a record. Wake the followers of the task once a record is appended.

        Return the outcome as the store does. The writes of one task happen in the order of the calls. `event` is the
        parsed event of the record, which must not change any more.
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
        """Tell the followers of an append that is over."""
        key, record, _, _, _, _, _ = append
        tail = self._tails.get(key)
        if written.exception() is None:
            if tail is not None:
                tail.push(record, event)
            self.bus.wake(key)
        elif tail is not None:
            tail.begun_seq = 0
            tail.topic.invalidate()  # others have written, or the record may be in the store

    @property
    def followers(self) -> tuple[int, int]:
        """The number of followers that have taken all records, and the number of those that are behind."""
        counts = [tail.counts for tail in tuple(self._tails.values())]
        return sum(current for current, _ in counts), sum(behind for _, behind in counts)

    async def poll(self) -> None:
        """Compare the logs that are followed here with the store, since a wake of another process may be lost."""
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
        """Lets every follower catch up with what is in its log, then ends it with UnavailableError."""
        self.is_closing = True
        self.bus.wake_all()

    async def head(self, key: TaskKey) -> Head:
        """Raises TaskNotFoundError."""
        head = await self.store.head(key)
        if head is None:
            raise TaskNotFoundError.of(key.id)
        self._compare(key, head.seq)
        return head

    async def snapshot(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot:
        """Return the parts of the task that `view` names, as they are now, with the seq. Raises TaskNotFoundError."""
        snapshot = await self.store.load(key, view)
        if snapshot is None:
            raise TaskNotFoundError.of(key.id)
        return snapshot

    def follow(
        self, key: TaskKey, after: int, state: TaskState | None = None, *, is_new: bool = False, folds: bool = False
    ) -> "Follower":
        """Return the records after a seq, those that are there and those to come, until the task has ended.

        Args:
            key: The name of the task.
            after: The seq before the first record.
            state: The state of the task at that seq, if it is known.
            is_new: True if the task is about to be created here.
            folds: True to get records in large batches: once the task is settled, or there are many of them.
        """
        return Follower(self, key, after, state, is_new=is_new, folds=folds)

    def tail(self, key: TaskKey, after: int, state: TaskState | None, *, is_new: bool) -> Tail:
        """Return the tail of a task, for a follower that joins it after a seq."""
        tail = self._tails.get(key)
        if tail is None:
            listening = self.bus.listen(key)
            tail = Tail(key, self.store, listening, self._tails, after, state, is_new=is_new)
        return tail


class Follower:
    """Iterates the records of one task; a context manager, so that leaving it is prompt.

    Guarantees: records in seq order, no gaps, no repeats, the first is `after + 1`; the iteration ends after a terminal
    record and only then. It holds one batch of records, however far behind it is. Raises TaskNotFoundError if the task
    does not exist or is purged meanwhile, UnavailableError once it has caught up with a log that is closed.
    """

    __slots__ = ("_batch", "_is_new", "_key", "_log", "_seq", "_source", "_state", "_tail", "folds", "reached")

    def __init__(
        self, log: Log, key: TaskKey, after: int, state: TaskState | None, *, is_new: bool, folds: bool
    ) -> None:
        self._log = log
        self._key = key
        self._seq = after
        self._state = state
        """Of the task at `_seq`; None until it is known."""
        self._is_new = is_new
        self._tail: Tail | None = None
        self._source: Source | None = None
        """For reading the store while the follower is behind the tail."""
        self._batch: deque[Record] | None = None
        self.folds = folds
        self.reached = -1

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
        """Return the next records, those that are there. Wait if there are none. Return none once the task has ended.
        Do not mix this with the iteration."""
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
