"""The log of each task: the store keeps the records, the bus wakes whoever follows them."""

from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Self

from a2a_grpc.bus import Bus, Topic
from a2a_grpc.errors import TaskNotFoundError, UnavailableError
from a2a_grpc.lifecycle import TERMINAL
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
from a2a_grpc.wire import TaskState

READ_BATCH = 256
"""Records a follower takes from the store at a time, at most."""
FIRST_BATCH = 16
"""Records it takes while it does not know how large they are."""
BATCH_BYTES = 1 << 20
"""About what a follower that lags holds in memory: the next batch has as many records of the size seen last."""


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
        self._seqs: dict[TaskKey, int] = {}  # of the logs that were followed at the last `heal`

    def write(self, write: Create | Append) -> Written:
        """Begin to create a task or to append a record. Wake the followers of the task once a record is appended.

        Return the outcome as the store does. The writes of one task happen in the order of the calls.
        """
        written = self.store.write(write)
        if isinstance(write, Create):
            return written  # the task has no followers yet
        if not written.done():
            written.add_done_callback(partial(self._wake, write.key))
        elif written.exception() is None:
            self.bus.wake(write.key)
        return written

    def _wake(self, key: TaskKey, written: Written) -> None:
        if written.exception() is None:
            self.bus.wake(key)

    async def heal(self) -> None:
        """Wakes the followers of logs that have grown since the last time: a wake of another process may be lost."""
        followed = [key for key in self.bus.keys() if isinstance(key, TaskKey)]  # noqa: SIM118
        seqs = dict(zip(followed, await self.store.seqs(followed), strict=True)) if followed else {}
        for key, seq in seqs.items():
            if self._seqs.get(key) != seq and not self._is_own(key, seq):
                with self.bus.listen(key) as topic:
                    topic.doubt()
        self._seqs = seqs

    def _is_own(self, key: TaskKey, seq: int) -> bool:
        """Whether the newest record was appended here: then each had its wake."""
        return self.store.recent(key, seq, 1) == ()

    def look_again(self, key: TaskKey) -> None:
        """Has the next `heal` wake the followers of this log in any case."""
        self._seqs.pop(key, None)

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

    async def snapshot(self, key: TaskKey, view: TaskView = WHOLE) -> Snapshot:
        """Return the parts of the task that `view` names, as they are now, with the seq. Raises TaskNotFoundError."""
        snapshot = await self.store.load(key, view)
        if snapshot is None:
            raise TaskNotFoundError.of(key.id)
        return snapshot

    def follow(self, key: TaskKey, after: int, state: TaskState | None = None) -> "Follower":
        """The records after a seq, those that are there and those to come, until the task has ended. `state` is the
        task's at that seq, where it is known."""
        return Follower(self, key, after, state)


class Follower:
    """Iterates the records of one task; a context manager, so that leaving it is prompt.

    Guarantees: records in seq order, no gaps, no repeats, the first is `after + 1`; the iteration ends after a terminal
    record and only then. It holds one batch of records, however far behind it is. Raises TaskNotFoundError if the task
    does not exist or is purged meanwhile, UnavailableError once it has caught up with a log that is closed.
    """

    __slots__ = ("_batch", "_doubts", "_key", "_limit", "_listening", "_log", "_seen", "_seq", "_state", "_topic")

    def __init__(self, log: Log, key: TaskKey, after: int, state: TaskState | None) -> None:
        self._log = log
        self._key = key
        self._seq = after
        self._state = state
        """Of the task at `_seq`; None until it is known."""
        self._seen = -1
        """Wakes that had come when all there was had been read; -1 while there may be more to read."""
        self._doubts = -1
        """Those of the topic when it was last looked what others have appended; -1 while nobody has looked."""
        self._limit = FIRST_BATCH
        self._batch: deque[Record] = deque()
        self._listening: AbstractContextManager[Topic] = log.bus.listen(key)
        self._topic: Topic

    def __enter__(self) -> Self:
        self._topic = self._listening.__enter__()
        if self._state is not None:  # then the caller has just looked
            self._doubts = self._topic.doubts
            self._log.look_again(self._key)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.__exit__(kind, error, trace)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Record:
        if not self._batch:
            self._batch.extend(await self.batch())
            if not self._batch:
                raise StopAsyncIteration
        return self._batch.popleft()

    async def batch(self) -> Sequence[Record]:
        """The next records, those that are there, waited for if there are none; none once the task has ended. Not to
        be mixed with the iteration."""
        while self._state not in TERMINAL:
            if self._seen == self._topic.wakes:
                if self._log.is_closing:
                    raise UnavailableError.shutting_down("resume at another")
                await self._topic.wait(self._seen)
            if records := await self._read():
                return records
        return ()

    async def _read(self) -> Sequence[Record]:
        """What there is after the cursor, up to a batch."""
        seen, doubts = self._topic.wakes, self._topic.doubts
        records, limit = None, self._limit
        if doubts == self._doubts:  # all that there may be was appended here
            records = self._log.store.recent(self._key, self._seq, limit)
        if records is None:
            records = await self._log.store.read(self._key, self._seq, limit)
            if records is None:
                raise TaskNotFoundError.of(self._key.id)
            self._doubts = doubts
        if records:
            self._seq, self._state = records[-1].seq, records[-1].state
            if len(records) == limit:  # there may be more
                self._limit = min(READ_BATCH, max(1, BATCH_BYTES // max(record.size for record in records)))
        elif self._state is None:
            head = await self._log.head(self._key)
            if head.seq > self._seq:
                return records  # it has grown meanwhile
            self._state = head.state
        self._seen = seen if len(records) < limit else -1
        return records
