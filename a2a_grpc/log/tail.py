"""The newest records of one task, which all followers of the task in this process share."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from a2a_grpc.bus import Topic
from a2a_grpc.errors import TaskNotFoundError
from a2a_grpc.lifecycle import SETTLED
from a2a_grpc.log.reading import READ_BATCH, Reader, Shared, Source
from a2a_grpc.store import Record, TaskKey, TaskStore
from a2a_grpc.wire import StreamResponse, TaskState

TAIL_BYTES = 1 << 20
"""The largest size of a tail."""
PATIENT_BYTES = 128 * 1024
"""The size of a tail at which followers that fold take its records, even if the task goes on."""
OVERHEAD = 256
"""The memory that a record takes in addition to its bytes."""


class Tail:
    """The newest records of a task.

    Guarantees:

    - The records are contiguous, and committed in the store.
    - If `is_current` is True, the store has no record after `seq` of which another process has notified this one.
    - If several followers wait for new records of another process, one of them reads the records for all.
    - A record that all followers have taken is not kept. The other records have about `TAIL_BYTES` at most. The oldest
      ones are dropped first, and followers that are behind read them from the store.

    Attributes:
        topic: Counts the wakes of the task.
        seq: The seq of the newest record.
        state: The state of the task after that record; None if it is not known.
        begun_seq: The seq of the newest record whose write this process has begun; 0 after a write that failed.
        settled_seq: The seq of the newest record after which the task was settled; 0 if there was none.
        size: The memory that the records take, in bytes.
        events: The parsed events of some of the records, by their seqs.
    """

    __slots__ = (
        "_folding",
        "_key",
        "_listening",
        "_reached",
        "_readers",
        "_reading",
        "_records",
        "_restarts",
        "_source",
        "_store",
        "_tails",
        "_valid_at",
        "begun_seq",
        "events",
        "seq",
        "settled_seq",
        "size",
        "state",
        "topic",
    )

    def __init__(
        self,
        key: TaskKey,
        store: TaskStore,
        listening: AbstractContextManager[Topic],
        tails: "dict[TaskKey, Tail]",
        after: int,
        state: TaskState | None,
        *,
        is_new: bool,
    ) -> None:
        """Begin after a seq. The tail is in `tails` until the last follower has left.

        `is_new` is True if the task is about to be created here, so that no other process writes to its log yet.
        """
        self._key = key
        self._store = store
        self._listening = listening
        self._tails = tails
        tails[key] = self
        self.topic = listening.__enter__()
        self._readers = self._folding = self.begun_seq = self._restarts = self.seq = self.size = 0
        self._reached = 0
        """The number of followers that have taken all records."""
        self._source: Source
        self._reading: Shared | None = None
        """Reads `_source` for all followers. Both are made when they are first needed, as most tails never read."""
        self.state: TaskState | None
        self._start_at(after, state)
        if is_new:
            self._valid_at = self.topic.invalidations

    @property
    def is_current(self) -> bool:
        """True unless the store may have records of other processes that are not here."""
        return self._valid_at == self.topic.invalidations

    @property
    def wants_events(self) -> bool:
        """True if some follower folds the events."""
        return self._folding > 0

    # -- followers

    @property
    def counts(self) -> tuple[int, int]:
        """The number of followers that have taken all records, and the number of those that are behind."""
        return self._reached, self._readers - self._reached

    def join(self, reader: Reader, after: int, state: TaskState | None) -> None:
        """Add a follower that begins after a seq. `state` is the state of the task at that seq, if it is known."""
        if after > self.seq + READ_BATCH:
            self._start_at(after, state)  # so that this follower does not wait for records that it does not need
        elif after > self.seq:
            self.topic.invalidate()
        elif after == self.seq and self.state is None:
            self.state = state
        reader.reached = -1
        self._readers += 1
        self._folding += reader.folds

    def leave(self, reader: Reader) -> None:
        """Remove a follower. If it was the last one, end the tail."""
        self._readers -= 1
        self._folding -= reader.folds
        if reader.reached == self.seq:
            self._reached -= 1
        if self._readers:
            self._drop_taken()
            return
        self._listening.__exit__(None, None, None)
        del self._tails[self._key]

    def after(self, seq: int) -> Sequence[Record] | None:
        """Return the next records after a seq. Return None if they are not here any more."""
        start = seq - self.seq + len(self._records)
        return None if start < 0 else self._records[start : start + READ_BATCH]

    def is_growing(self, seq: int) -> bool:
        """Return True if a follower that folds can wait for more records after a seq."""
        return self.is_current and self.settled_seq <= seq and self.size <= PATIENT_BYTES

    def note_taken(self, reader: Reader) -> None:
        """Take note that a follower has taken all records."""
        if reader.reached != self.seq:
            reader.reached = self.seq
            self._reached += 1
            self._drop_taken()

    # -- records

    def push(self, record: Record, event: StreamResponse | None) -> None:
        """Add a committed record if it is the next one. `event` is the parsed event of the record, if it is known."""
        seq, serialized, state, _, _, message = record  # taken apart at once, as this is done for each record
        if seq != self.seq + 1:
            if seq > self.seq:
                self.topic.invalidate()  # another process has written in between, or the tail was not read yet
            return
        self.seq, self.state = seq, state
        self._records.append(record)
        size = len(serialized) + len(message) + OVERHEAD
        if event is not None and self._folding:
            self.events[seq] = event
            size *= 2
        self.size = size = self.size + size
        self._reached = 0
        if state in SETTLED:
            self.settled_seq = seq
            self.topic.wake_patient()
        if size > PATIENT_BYTES:
            self.topic.wake_patient()
            if size > TAIL_BYTES:
                self._halve()

    def adopt(self, records: Sequence[Record]) -> None:
        """Add the new ones among records of the store, and wake the followers that wait for them."""
        before = self.seq
        for record in records:
            self.push(record, None)
        if self.seq > before:
            self.topic.wake()

    async def refresh(self) -> None:
        """Read the records that other processes have appended. Callers that come meanwhile share the read.

        Raises:
            TaskNotFoundError: The task was deleted.
            StoreUnavailable: The store does not answer.
        """
        if self._reading is None:
            self._reading, self._source = Shared(), self.source()
        await self._reading.run(self._read)

    def source(self) -> Source:
        """Return a way to read records that are not here."""
        return Source(self._store, self._key)

    async def _read(self) -> None:
        restarts, valid_at = self._restarts, self.topic.invalidations
        records, has_more = await self._source.read(self.seq)
        self.adopt(records)
        if has_more:
            return
        if self.state is None:
            head = await self._store.head(self._key)
            if head is None:
                raise TaskNotFoundError.of(self._key.id)
            if head.seq > self.seq:
                return  # the log has grown meanwhile
            if self.state is None:  # and no record has come
                self.state = head.state
        if restarts == self._restarts:
            self._valid_at = valid_at

    def _start_at(self, after: int, state: TaskState | None) -> None:
        """Begin after a seq, without records."""
        self.seq = after
        self.state = state
        self.settled_seq = 0
        self._valid_at = -1
        self._restarts += 1
        self._drop_all()

    def _halve(self) -> None:
        """Drop the oldest records, so that half of the memory is left. Keep the newest record in any case."""
        start = 0
        while self.size > TAIL_BYTES // 2 and start < len(self._records) - 1:
            record = self._records[start]
            size = record.size + OVERHEAD
            self.size -= size * 2 if self.events.pop(record.seq, None) is not None else size
            start += 1
        del self._records[:start]

    def _drop_taken(self) -> None:
        if self._reached == self._readers and self._records:
            self._drop_all()

    def _drop_all(self) -> None:
        self._records: list[Record] = []
        self.events: dict[int, StreamResponse] = {}
        self.size = 0
